//! Printed plans: what `rustle-exec plan` prints of a playbook is run from another folder, and does what the playbook does.

use std::path::{Path, PathBuf};

use rustle_tests::Run;

use super::case::Case;
use super::playbooks::{Seen, cases, difference, seen};
use super::told;

/// The option of the cases that says what a plan holds: it is given when it is printed, and not again. So are playbooks.
const OF_THE_PLAN: &str = "-e";

/// A case in its folder, which is where it was before: results name paths.
struct Scene<'a> {
    case: &'a Case,
    root: &'a Path,
    folder: PathBuf,
}

impl<'a> Scene<'a> {
    fn new(case: &'a Case, root: &'a Path) -> Scene<'a> {
        let folder = root.join(&case.name);
        Scene { case, root, folder }
    }

    fn write_anew(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
        self.case.write(self.root);
    }

    /// The inventory, wherever the program is started.
    fn inventory(&self) -> [String; 2] {
        let given = self.case.inventory();
        let path = self.folder.join(given);
        ["-i".to_owned(), if path.exists() { path.display().to_string() } else { given.to_owned() }]
    }

    /// The arguments of the case: first those that the plan holds.
    fn args(&self) -> (Vec<String>, Vec<String>) {
        let (mut of_plan, mut of_run) = (Vec::new(), Vec::new());
        let mut args = self.case.args.iter().cloned();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                OF_THE_PLAN => of_plan.extend([arg].into_iter().chain(args.next())),
                "-i" => of_run.extend([arg].into_iter().chain(args.next())),
                playbook if playbook.ends_with(".yml") => of_plan.push(arg),
                _ => of_run.push(arg),
            }
        }
        (of_plan, of_run)
    }

    fn run(&self, from: &Path, args: &[String], plan: &Path) -> Seen {
        let run = Run::new(from).args(["--connection-plugin", "local", "--progress", "json"]).args(self.inventory());
        seen(&run.args(args).arg(plan).finish(), &self.folder)
    }

    fn run_playbook(&self) -> Seen {
        self.write_anew();
        self.run(&self.folder, &self.case.args, Path::new("site.yml"))
    }

    /// What the printed plan does, or why it is not printed.
    fn run_printed(&self) -> Result<Seen, String> {
        self.write_anew();
        let (options, args) = self.args();
        let print = Run::new(&self.folder).arg("plan").args(self.inventory()).args(options).arg("site.yml");
        let printed = print.finish();
        if printed.code != 0 {
            return Err(printed.stderr);
        }
        let elsewhere = tempfile::tempdir().unwrap();
        // Tasks on this machine and options name files from where the program was started.
        for name in args.iter().map(String::as_str).filter(|arg| self.folder.join(arg).is_file()).chain(["out"]) {
            std::os::unix::fs::symlink(self.folder.join(name), elsewhere.path().join(name)).unwrap();
        }
        let plan = elsewhere.path().join("plan.json");
        std::fs::write(&plan, printed.stdout).unwrap();
        Ok(self.run(elsewhere.path(), &args, &plan))
    }
}

/// Of a failure's places a printed plan keeps the task's.
fn said(seen: &Seen) -> Vec<&String> {
    told::without_causes(&seen.told)
}

#[test]
fn printed_plans_do_what_their_playbooks_do() {
    let root = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    // What is set is set for a run of a printed plan, too, and shows in how it is told.
    let cases: Vec<Case> = cases().into_iter().filter(|case| !case.has_settings()).collect();
    for case in &cases {
        let scene = Scene::new(case, root.path());
        let playbook = scene.run_playbook();
        match scene.run_printed() {
            Ok(printed) if printed.outcome() == playbook.outcome() && said(&printed) == said(&playbook) => {}
            Ok(printed) => wrong.push(format!("{}: {}", case.name, difference(&playbook, &printed))),
            Err(why) => wrong.push(format!("{}: not printed: {why}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn printed_examples_would_run_what_their_playbooks_would() {
    let examples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/playbooks"));
    for name in ["hardening", "rolling_upgrade", "web_tier"] {
        let home = tempfile::tempdir().unwrap();
        let run = || Run::new(home.path()).arg("-i").arg(examples.join("hosts.ini"));
        let playbook = examples.join(name).with_extension("yml");
        let print = Run::new(home.path()).arg("plan").arg("-i").arg(examples.join("hosts.ini")).arg(&playbook);
        std::fs::write(home.path().join("plan.json"), print.ends(0).stdout).unwrap();
        let [printed, playbook] =
            [Path::new("plan.json"), &playbook].map(|plan| run().arg("--dry-run").arg(plan).ends(0));
        assert_eq!(printed.stdout, playbook.stdout, "{name}");
    }
}
