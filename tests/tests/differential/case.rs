//! A playbook to be run twice, with all the files it needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The hosts of a case that brings no inventory.
const HOSTS: &str = "a,b,c,";

/// Where a case has one.
const INVENTORY: &str = "inventory/hosts";

/// What a case may bring, beside its playbook.
const CONFIGURATION: &str = "ansible.cfg";

pub(crate) struct Case {
    pub(crate) name: String,
    /// Arguments beside the inventory and the playbook.
    pub(crate) args: Vec<String>,
    /// What is set in the environment.
    pub(crate) env: Vec<(String, String)>,
    /// `site.yml`, and what it needs, by path.
    pub(crate) files: BTreeMap<PathBuf, String>,
}

impl Case {
    pub(crate) fn of_playbook(name: impl Into<String>, text: impl Into<String>) -> Case {
        let text = text.into();
        let args = first_words(&text, "# args: ").map(str::to_owned).collect();
        let variable = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let env = first_words(&text, "# env: ").map(|word| variable(word).expect("NAME=VALUE")).collect();
        Case { name: name.into(), args, env, files: BTreeMap::from([("site.yml".into(), text)]) }
    }

    /// Whether the environment or an `ansible.cfg` says how the programs are to behave.
    pub(crate) fn has_settings(&self) -> bool {
        !self.env.is_empty() || self.files.contains_key(Path::new(CONFIGURATION))
    }

    #[must_use]
    pub(crate) fn with(mut self, path: &str, text: impl Into<String>) -> Case {
        self.files.insert(path.into(), text.into());
        self
    }

    #[must_use]
    pub(crate) fn args<const N: usize>(mut self, args: [&str; N]) -> Case {
        self.args.extend(args.map(str::to_owned));
        self
    }

    /// A file is a playbook; a folder has a `site.yml` and what it needs.
    fn read(path: &Path) -> Case {
        let name = path.file_stem().unwrap().to_string_lossy();
        if path.is_file() {
            return Case::of_playbook(name, fs::read_to_string(path).unwrap());
        }
        let case = Case::of_playbook(name, fs::read_to_string(path.join("site.yml")).unwrap());
        files_below(path).into_iter().fold(case, |case, file| {
            let text = fs::read_to_string(&file).unwrap();
            case.with(file.strip_prefix(path).unwrap().to_str().unwrap(), text)
        })
    }

    /// Every case in a folder, by name.
    pub(crate) fn all_in(folder: &Path) -> Vec<Case> {
        let mut cases: Vec<Case> =
            fs::read_dir(folder).unwrap().map(|entry| Case::read(&entry.unwrap().path())).collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    /// Writes it to a folder of its own, which also gets an empty `out/`.
    pub(crate) fn write(&self, root: &Path) -> PathBuf {
        let folder = root.join(&self.name);
        fs::create_dir_all(folder.join("out")).unwrap();
        for (path, text) in &self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    pub(crate) fn inventory(&self) -> &'static str {
        if self.files.contains_key(Path::new(INVENTORY)) { INVENTORY } else { HOSTS }
    }

    /// The command line, but for the way hosts are reached, which each program calls differently.
    pub(crate) fn command_line(&self) -> Vec<String> {
        let fixed = ["-i", self.inventory()].map(str::to_owned);
        fixed.into_iter().chain(self.args.clone()).chain(["site.yml".to_owned()]).collect()
    }
}

/// The words behind `beginning` in the comments that a playbook begins with.
fn first_words<'a>(text: &'a str, beginning: &'a str) -> impl Iterator<Item = &'a str> {
    let comments = text.lines().take_while(|line| line.starts_with('#'));
    comments.filter_map(move |line| line.strip_prefix(beginning)).flat_map(str::split_whitespace)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
