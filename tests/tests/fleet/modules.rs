//! Modules and actions that take more than one end: files that come back, hosts that restart, modules in files.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use rustle_tests::{Fleet, eventually, named, play, task};
use serde_json::json;

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn fetched_files_lie_below_their_hosts_names_and_come_once() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let source = fleet.path().join("source");
    fs::write(&source, vec![b'x'; 300_000]).unwrap();
    let plan = play([
        task("fetch", json!({ "src": &source, "dest": "got" })),
        named("none", task("fetch", json!({ "src": "/no/such/file", "dest": "got", "fail_on_missing": false }))),
    ]);
    let ended = fleet.run(&plan).ends(0);
    assert_eq!(ended.results(), ["changed: [web1]", "changed: [web2]", "ok: [web1]", "ok: [web2]"]);
    for host in ["web1", "web2"] {
        let got = fleet.path().join("got").join(host).join(source.strip_prefix("/").unwrap());
        assert_eq!(fs::read(got).unwrap(), fs::read(&source).unwrap());
    }
    assert_eq!(fleet.run(&plan).ends(0).results()[0], "ok: [web1]", "what is here already is not sent again");
    let traversal = play([task("fetch", json!({ "src": "/etc/../../../x", "dest": "got" }))]);
    assert!(fleet.run(&traversal).ends(2).stdout.contains("directory traversal"));
}

/// A web server that answers `received` and hands on what was sent to it. Gives its address.
fn web_server() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sent, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while reader.read_line(&mut head).unwrap_or(0) > 2 {}
            let length = head.to_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            // A test that has failed does not listen any more.
            let _ = sent.send(String::from_utf8(body).unwrap());
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nreceived";
            reader.get_mut().write_all(answer).unwrap();
        }
    });
    (address, received)
}

#[test]
fn what_uri_sends_may_be_files_of_the_controller_and_what_get_url_gets_lies_on_the_host() {
    let fleet = Fleet::start(&["web1"]);
    let (url, received) = web_server();
    put(fleet.path(), "request.txt", "a file of the controller");
    let (src, dest) = (fleet.path().join("request.txt"), fleet.path().join("got"));
    let form = json!({ "part": { "filename": &src, "multipart_encoding": "7or8bit" }, "word": "plain" });
    // The agents of a fleet are told of a proxy that nobody is behind.
    let with = |mut args: serde_json::Value, name: &str, value: serde_json::Value| {
        args["use_proxy"] = false.into();
        args[name] = value;
        args
    };
    let post = json!({ "url": &url, "method": "POST" });
    let plan = play([
        task("uri", with(post.clone(), "src", json!(&src))),
        task("uri", with(with(post.clone(), "body_format", json!("form-multipart")), "body", form)),
        task("get_url", with(json!({ "url": format!("{url}/file") }), "dest", json!(&dest))),
        named("by the proxy", task("uri", post)),
    ]);
    let ended = fleet.run(&plan).ends(2);
    let results = ended.results();
    assert!(results[0] == "changed: [web1]" && results[2..] == ["ok: [web1]", "ok: [web1]"], "{results:?}");
    assert!(results[1].contains("Connection refused"), "{results:?}");
    let bodies: Vec<String> = received.try_iter().collect();
    assert_eq!(bodies[0], "a file of the controller");
    let sent = "name=\"part\"; filename=\"request.txt\"\r\n";
    assert!(bodies[1].contains(sent) && bodies[1].contains("\r\n\r\na file of the controller\r\n"), "{}", bodies[1]);
    assert_eq!(fs::read_to_string(dest).unwrap(), "received");
}

#[test]
fn a_host_that_restarts_is_waited_for_until_it_has() {
    let mut fleet = Fleet::start(&["web1"]);
    let (boot, down) = (fleet.path().join("boot"), fleet.path().join("down"));
    fs::write(&boot, "first").unwrap();
    let reboot = json!({
        "reboot_command": format!("touch {}", down.display()),
        "boot_time_command": format!("cat {}", boot.display()),
        "test_command": "true",
    });
    let running = fleet.run(&play([task("reboot", reboot), task("ping", json!({}))])).start();
    eventually("the command has run", || down.exists().then_some(()));
    fleet.restart("web1", || fs::write(&boot, "second").unwrap());
    let ended = running.finish().expect_code(0);
    assert_eq!(ended.results(), ["changed: [web1]", "ok: [web1]"]);
}

#[test]
fn the_controller_is_not_restarted_by_a_task_for_a_host() {
    let fleet = Fleet::start(&["web1"]);
    let plan = play([task("reboot", json!({ "reboot_command": "false" }))]);
    let ended = fleet.run(&plan).args(["--connection-plugin", "local"]).ends(2);
    assert!(ended.stdout.contains("would reboot the control node"), "{}", ended.stdout);
}

#[test]
fn a_connection_is_waited_for_as_long_as_was_said() {
    let mut fleet = Fleet::start(&["web1"]);
    let plan = play([task("wait_for_connection", json!({ "timeout": 60, "connect_timeout": 2 }))]);
    assert_eq!(fleet.run(&plan).ends(0).results(), ["ok: [web1]"]);
    fleet.signal("web1", rustix::process::Signal::KILL);
    fleet.wait_for_end("web1");
    let plan = play([task("wait_for_connection", json!({ "timeout": 1, "connect_timeout": 1 }))]);
    let ended = fleet.run(&plan).ends(2);
    assert!(ended.stdout.contains("timed out waiting for ping module test"), "{}", ended.stdout);
}

/// Something like `ansible.module_utils.basic`, which is all that this program knows of Ansible's.
const BASIC: &str = "
import json
from ansible.module_utils.more import MORE
_ANSIBLE_ARGS = None
def run(function):
    print(json.dumps(function(json.loads(_ANSIBLE_ARGS.decode())['ANSIBLE_MODULE_ARGS'], MORE)))
";

#[test]
fn a_python_module_travels_with_what_it_imports() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("NOT TESTED: there is no python3 here");
        return;
    }
    let fleet = Fleet::start(&["web1"]);
    let root = fleet.path();
    put(root, "lib/ansible/module_utils/basic.py", BASIC);
    put(root, "lib/ansible/module_utils/more.py", "MORE = 'from the library'\n");
    put(
        root,
        "library/greet.py",
        "from ansible.module_utils.basic import run\n\
         from ansible.module_utils.mine import WORD\n\
         run(lambda args, more: {'changed': True, 'msg': ' '.join([WORD, args['name'], more, str(args['_ansible_check_mode'])])})\n",
    );
    put(root, "utils/mine.py", "WORD = 'hello'\n");
    put(root, "library/lost.py", "from ansible.module_utils.basic import run\nraise ValueError('on purpose')\n");
    let run = |module: &str| {
        let run = fleet.run(&play([task(module, json!({ "name": "bob's \"friend\"" }))])).arg("-v");
        let run = run.args(["-M", "library"]).env("ANSIBLE_CORE_LIB", root.join("lib"));
        run.env("ANSIBLE_MODULE_UTILS", root.join("utils"))
    };
    let ended = run("greet").ends(0);
    assert!(ended.stdout.contains(r#"hello bob's \"friend\" from the library False"#), "{}", ended.stdout);
    assert!(run("greet").arg("--check").ends(0).stdout.contains("from the library True"));
    let ended = run("lost").ends(2);
    assert!(ended.stdout.contains("Module failed: on purpose"), "{}", ended.stdout);
}

#[test]
fn modules_beside_a_playbook_and_in_its_roles_are_found() {
    let fleet = Fleet::start(&["web1"]);
    let root = fleet.path().join("play");
    let module = |word: &str| {
        format!("#!/bin/sh\necho '{{\"changed\": true, \"msg\": \"{word} '\"$(cut -d' ' -f1 $1)\"'\"}}'\n")
    };
    put(&root, "library/beside", &module("beside"));
    put(&root, "roles/app/library/within.sh", &module("within"));
    put(&root, "roles/app/tasks/main.yml", "- within:\n    word: x\n");
    put(&root, "site.yml", "- hosts: all\n  gather_facts: false\n  roles: [app]\n  tasks:\n    - beside: word=y\n");
    let ended = fleet.exec().arg(root.join("site.yml")).arg("-v").ends(0);
    assert_eq!(ended.results().len(), 2, "{}", ended.stdout);
    assert!(ended.stdout.contains("within word=x") && ended.stdout.contains("beside word=y"), "{}", ended.stdout);
}
