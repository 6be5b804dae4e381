//! Templates and conditions. What ansible-core makes of them is recorded beside the templates' own tests, which compare
//! it with what we make of them; here it is made sure that the record is the truth.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustle_tests::ansible_python;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/differential"))
}

/// Where the answers are recorded.
fn record() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../controller/src/template/filters/observed.json"))
}

/// The lines of `templates.txt`, as that file describes them.
fn cases() -> Vec<Value> {
    let text = fs::read_to_string(folder().join("templates.txt")).expect("a file of this crate");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
    lines.map(case).collect()
}

fn case(line: &str) -> Value {
    let (loose, line) = line.strip_prefix("~ ").map_or((false, line), |rest| (true, rest));
    let (kind, line) = line.strip_prefix("? ").map_or(("template", line), |rest| ("condition", rest));
    let text = if line.starts_with('"') { serde_json::from_str(line).expect("a JSON string") } else { line.to_owned() };
    let mut case = json!({ kind: text });
    if loose {
        case["loose"] = true.into();
    }
    case
}

#[test]
fn what_is_recorded_of_ansible_is_what_it_answers() {
    let Some(python) = ansible_python() else { return };
    let mut vars: Value = serde_json::from_str(&fs::read_to_string(folder().join("vars.json")).unwrap()).unwrap();
    vars["playbook_dir"] = folder().to_str().unwrap().into();
    let mut cases = cases();
    let asked = json!({ "folder": folder(), "vars": vars, "cases": cases });
    let mut ansible = Command::new(python)
        .arg(folder().join("answers.py"))
        .env("TZ", "UTC")
        .env("ANSIBLE_LOCALHOST_WARNING", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ansible.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(asked.to_string().as_bytes()));
    let output = ansible.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter_mut().zip(answers) {
        case.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
    }
    let text = written(&cases);
    if std::env::var_os("UPDATE_OBSERVED").is_some() {
        fs::write(record(), &text).unwrap();
    }
    let recorded = fs::read_to_string(record()).unwrap();
    let (recorded, now): (BTreeSet<&str>, BTreeSet<&str>) = (recorded.lines().collect(), text.lines().collect());
    let differ: Vec<_> = recorded.symmetric_difference(&now).collect();
    assert!(
        differ.is_empty(),
        "the record is not what Ansible answers; UPDATE_OBSERVED=1 writes it anew:\n{differ:#?}"
    );
}

/// One case a line.
fn written(cases: &[Value]) -> String {
    let mut out = String::from("[\n");
    for (index, case) in cases.iter().enumerate() {
        let comma = if index + 1 < cases.len() { "," } else { "" };
        writeln!(out, "{case}{comma}").expect("text takes text");
    }
    out + "]\n"
}
