//! A controller and a host in networks of their own: the cable between them is pulled, and either gets another address.

use std::fs;
use std::path::PathBuf;

use rustle_tests::{Fleet, Running, Space, eventually, named, play, shell};
use serde_json::Value;

const CONTROLLER: &str = "10.77.0.1/24";
const HOST: &str = "10.77.0.2/24";

struct Scene {
    fleet: Fleet,
    controller: Space,
    host: Space,
}

impl Scene {
    fn new() -> Option<Scene> {
        let [controller, host] = Space::several()?;
        controller.connect(CONTROLLER, &host, HOST);
        let fleet = Fleet::builder().config("idle_s = 2\n").within(&host).start(&["web1"]);
        fs::write(fleet.path().join("names"), "10.77.0.2 web1.example\n").unwrap();
        controller.names_are_in(&fleet.path().join("names"));
        let port = fleet.address("web1").port();
        fs::write(fleet.inventory(), format!("web1 rustle_host=web1.example rustle_port={port}\n")).unwrap();
        fs::write(fleet.path().join("quick.toml"), "[performance]\nidle_s = 2\nkeep_alive_s = 1\n").unwrap();
        Some(Scene { fleet, controller, host })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.fleet.path().join(name)
    }

    /// Leaves a line and waits for a word.
    fn witness(&self) -> Value {
        let dir = self.fleet.path().display();
        let wait = format!("until test -e {dir}/go; do sleep 0.02; done");
        named("witness", shell(&format!("echo line >> {dir}/lines; touch {dir}/begun; {wait}")))
    }

    /// A run, as far as the witness. No try is to be spent, so there is none to spare.
    fn begun(&self, window: &str) -> Running {
        let run =
            self.fleet.run(&play([self.witness()])).args(["--config", "quick.toml", "--reconnect-window", window]);
        let running = run.within(&self.controller).start();
        eventually("the witness has begun", || self.file("begun").exists().then_some(()));
        running
    }

    fn ends_well(&self, running: Running) {
        fs::write(self.file("go"), "").unwrap();
        let ended = running.finish().expect_code(0);
        let lines = fs::read_to_string(self.file("lines")).unwrap();
        assert_eq!(lines, "line\n", "{}", ended.stdout);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Whatever still waits is to end with the test.
        let _ = fs::write(self.file("go"), "");
    }
}

#[test]
fn a_link_that_goes_down_under_a_call_and_comes_up_again_costs_nothing() {
    let Some(scene) = Scene::new() else { return };
    let running = scene.begun("60");
    for side in [&scene.host, &scene.controller] {
        side.plug(false);
        running.wait_for("the host is looked for, at most 60 s");
        side.plug(true);
    }
    scene.ends_well(running);
}

#[test]
fn a_controller_that_gets_another_address_keeps_its_connection() {
    let Some(scene) = Scene::new() else { return };
    let running = scene.begun("0");
    scene.controller.moves(CONTROLLER, "10.77.0.9/24");
    scene.ends_well(running);
}

#[test]
fn a_host_that_gets_another_address_is_found_by_its_name() {
    let Some(scene) = Scene::new() else { return };
    let running = scene.begun("60");
    scene.host.moves(HOST, "10.77.0.7/24");
    running.wait_for("the host is looked for, at most 60 s");
    // The file's place is mounted: it is written anew where it is.
    fs::write(scene.file("names"), "10.77.0.7 web1.example\n").unwrap();
    scene.ends_well(running);
}
