//! `known_hosts`: keys of hosts that SSH knows.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rustle_protocol::ModuleResult;
use sha1::Sha1;

use crate::accounts::Users;
use crate::files::attributes::FileAttributes;
use crate::files::text::{Rewrite, TextFile, trimmed};
use crate::files::{diff, node};
use crate::module::args::parse;
use crate::module::{Module, ModuleContext, ModuleError};
use crate::{arguments, choices};

/// What begins the name of a host that is hashed.
const HASHED: &str = "|1|";

/// Bytes of salt, as OpenSSH takes them.
const SALT_BYTES: usize = 20;

arguments! {
    pub(crate) struct KnownHostsArgs {
        /// The host, as it stands in the key; with another port than 22, `[host]:port`.
        name | "host": String,
        /// The line of the key: `host ssh-ed25519 AAAA...`.
        key: Option<String>,
        /// The file.
        path: PathBuf = "~/.ssh/known_hosts".into(),
        /// Keep the host's name as a hash.
        hash_host: bool = false,
        /// Whether the key is to be known.
        state: State = State::Present,
    }
}

choices! {
    pub(crate) enum State { Absent = "absent", Present = "present" }
}

pub(super) struct KnownHosts;

impl Module for KnownHosts {
    type Args = KnownHostsArgs;

    const NAME: &'static str = "ansible.builtin.known_hosts";
    const SUMMARY: &'static str = "Adds and removes keys of hosts that SSH knows.";
    const SUPPORTS_DIFF: bool = true;
    const IDEMPOTENT: bool = true;

    fn run(&self, args: KnownHostsArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let path = in_home(&args.path);
        let wanted = wanted(&args)?;
        let file = TextFile::open(&path)?;
        let content = with_change(&file, &args, wanted.as_ref());
        let is_there = file.exists();
        let is_done = content == file.content && (is_there || content.is_empty());
        // Told whether or not somebody asked for differences, as in Ansible.
        let before = is_there.then_some(file.content.as_slice());
        let mut difference = diff::of_content(&path, before, Some(&content));
        if !is_there {
            difference.before_header = Some("/dev/null".to_owned());
        }
        let mut result = if is_done {
            ModuleResult::ok()
        } else if cx.check {
            ModuleResult::changed(true)
        } else {
            let attributes = parse::<FileAttributes>("known_hosts", rustle_protocol::value::Map::new())
                .map_err(|error| ModuleError::new(error.to_string()))?;
            let rewrite = Rewrite { attributes: &attributes, backup: false, validate: None, shows_parts: false };
            rewrite.write(file, &content, cx)?;
            ModuleResult::changed(true)
        };
        if cx.diff && !is_done {
            result.diff.push(difference.clone());
        }
        result.set("diff", difference.to_value());
        if cx.check {
            return Ok(result);
        }
        result.set("name", args.name.as_str());
        result.set("key", args.key.as_deref());
        result.set("hash_host", args.hash_host);
        result.set("path", path.display().to_string());
        if path.exists() {
            node::describe(&mut result, &path, &Users::new(cx.cancel))?;
        } else {
            result.set("state", "absent");
        }
        Ok(result)
    }
}

/// `~/` is the home of the user the agent runs as.
fn in_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}

/// A line of the file.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    /// `@cert-authority` or `@revoked`.
    marker: Option<&'a str>,
    hosts: &'a str,
    kind: &'a str,
    key: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Entry<'a>> {
        let mut words = line.split_whitespace();
        let first = words.next().filter(|word| !word.starts_with('#'))?;
        let (marker, hosts) = if first.starts_with('@') { (Some(first), words.next()?) } else { (None, first) };
        Some(Entry { marker, hosts, kind: words.next()?, key: words.next()? })
    }

    /// Whether SSH would read the line: it knows the marker, and the key is of the kind that stands before it.
    fn is_valid(&self) -> bool {
        let is_marked = self.marker.is_none_or(|marker| matches!(marker, "@cert-authority" | "@revoked"));
        let named = STANDARD.decode(self.key).ok().and_then(|key| {
            let (length, rest) = key.split_first_chunk::<4>()?;
            let name = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            Some(name == self.kind.as_bytes())
        });
        is_marked && named == Some(true)
    }

    fn is_hashed(&self) -> bool {
        self.hosts.starts_with(HASHED)
    }

    /// Whether the line is about `host`: its hash, one of its names, or a pattern.
    fn is_of(&self, host: &str) -> bool {
        if let Some(rest) = self.hosts.strip_prefix(HASHED) {
            let Some((salt, _)) = rest.split_once('|') else { return false };
            return STANDARD.decode(salt).is_ok_and(|salt| hashed(host, &salt) == self.hosts);
        }
        let host = host.to_lowercase();
        let matches = |pattern: &str| crate::fnmatch::fnmatch(&escaped(&pattern.to_lowercase()), &host);
        let mut found = false;
        for pattern in self.hosts.split(',') {
            match pattern.strip_prefix('!') {
                Some(not) if matches(not) => return false,
                Some(_) => {}
                None => found |= matches(pattern),
            }
        }
        found
    }

    fn is_same_key(&self, other: &Entry<'_>) -> bool {
        (self.marker, self.kind, self.key) == (other.marker, other.kind, other.key)
    }
}

/// SSH's patterns have no brackets: `[host]:2222` means itself.
fn escaped(pattern: &str) -> String {
    pattern.replace('[', "[[]")
}

/// `|1|SALT|HASH`, as OpenSSH writes it: the hash is HMAC-SHA1 of the name with the salt as its key.
fn hashed(host: &str, salt: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).expect("a key of any length will do");
    mac.update(host.to_lowercase().as_bytes());
    format!("{HASHED}{}|{}", STANDARD.encode(salt), STANDARD.encode(mac.finalize().into_bytes()))
}

/// The line that is asked for, checked.
fn wanted(args: &KnownHostsArgs) -> Result<Option<Entry<'_>>, ModuleError> {
    let fail = |msg: &str| Err(ModuleError::new(msg));
    if args.name.contains(',') {
        return fail(
            "Comma separated list of names is not supported. Please pass a single name to lookup in the known_hosts file.",
        );
    }
    let Some(key) = args.key.as_deref().filter(|key| !key.is_empty()) else {
        return if args.state == State::Present { fail("No key specified when adding a host") } else { Ok(None) };
    };
    match Entry::parse(key) {
        Some(entry) if entry.is_of(&args.name) && entry.is_valid() => Ok(Some(entry)),
        _ => fail("Host parameter does not match hashed host field in supplied key"),
    }
}

/// The file's content as it is to be. A new key of a kind that the host has already takes the old one's place, at the end;
/// but authorities and revoked keys, of which there may be many, stand beside each other.
fn with_change(file: &TextFile, args: &KnownHostsArgs, wanted: Option<&Entry<'_>>) -> Vec<u8> {
    let lines = file.lines();
    let entry_of = |line: &[u8]| {
        let text = std::str::from_utf8(trimmed(line)).ok()?.to_owned();
        Entry::parse(&text).filter(|entry| entry.is_of(&args.name)).map(|entry| {
            let same_key = wanted.is_none_or(|wanted| wanted.is_same_key(&entry));
            let is_plain = wanted.is_none_or(|wanted| wanted.marker.is_none() && entry.marker.is_none());
            let same_kind = is_plain && wanted.is_none_or(|wanted| wanted.kind == entry.kind);
            (same_kind || same_key, same_key, entry.is_hashed())
        })
    };
    let found: Vec<Option<(bool, bool, bool)>> = lines.iter().map(|line| entry_of(line)).collect();
    let without = |is_gone: &dyn Fn((bool, bool, bool)) -> bool| {
        let kept = lines.iter().zip(&found).filter(|(_, found)| !found.is_some_and(is_gone));
        kept.map(|(line, _)| *line).collect::<Vec<_>>().concat()
    };
    let Some(wanted) = wanted.filter(|_| args.state == State::Present) else {
        return without(&|(same_kind, ..)| same_kind);
    };
    let shall_be_hashed = args.hash_host || wanted.is_hashed();
    let is_there = |(_, same_key, is_hashed): (bool, bool, bool)| same_key && is_hashed == shall_be_hashed;
    if found.iter().flatten().any(|found| is_there(*found)) {
        return file.content.clone();
    }
    let mut content = without(&|(same_kind, ..)| same_kind);
    if content.last().is_some_and(|byte| *byte != b'\n') {
        content.push(b'\n');
    }
    content.extend_from_slice(line_of(args, wanted).as_bytes());
    if content.last() != Some(&b'\n') {
        content.push(b'\n');
    }
    content
}

fn line_of(args: &KnownHostsArgs, wanted: &Entry<'_>) -> String {
    let line = args.key.as_deref().unwrap_or_default();
    if !args.hash_host || wanted.is_hashed() {
        return line.to_owned();
    }
    let mut salt = [0; SALT_BYTES];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(&mut salt).expect("the system has random numbers");
    line.replacen(wanted.hosts, &hashed(&args.name, &salt), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::{check, run};
    use serde_json::json;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJxtLBzHYlDKwoJ8aYOBnxYvHcmJJbQ7qSnXlUJ4lQmJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAALBzHYlDKwoJ8aYOBnxYvHcmJJbQ7qSnXlUJ4lQmJ";

    struct File(tempfile::TempDir);

    impl File {
        fn of(content: &str) -> File {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("known"), content).unwrap();
            File(dir)
        }

        fn run(&self, mut args: serde_json::Value) -> ModuleResult {
            args["path"] = json!(self.0.path().join("known"));
            let result = run(&KnownHosts, args.clone());
            if !result.failed {
                assert!(!run(&KnownHosts, args).changed, "a second run changes nothing");
            }
            result
        }

        fn content(&self) -> String {
            std::fs::read_to_string(self.0.path().join("known")).unwrap()
        }
    }

    #[test]
    fn a_key_is_added_once_and_takes_the_place_of_its_kind() {
        let file = File::of("# mine\nother ssh-rsa AAAA\nh1,10.0.0.1 ssh-rsa AAAA");
        let result = file.run(json!({"name": "h1", "key": format!("h1 {KEY}\n")}));
        assert!(result.changed && result.get("state").unwrap().as_str() == Some("file"), "{result:?}");
        assert_eq!(file.content(), format!("# mine\nother ssh-rsa AAAA\nh1,10.0.0.1 ssh-rsa AAAA\nh1 {KEY}\n"));
        assert!(file.run(json!({"name": "h1", "key": format!("h1 {OTHER}")})).changed);
        assert_eq!(file.content(), format!("# mine\nother ssh-rsa AAAA\nh1,10.0.0.1 ssh-rsa AAAA\nh1 {OTHER}\n"));
    }

    #[test]
    fn a_hashed_name_is_found_and_made() {
        // Made by ssh-keygen -H.
        let line = format!("|1|TftuVD4Q+n/B9g1sXLoWxTeOn2s=|DFPWBew3Q7YkBTM1rhpYRAFBziA= {KEY}");
        assert!(Entry::parse(&line).unwrap().is_of("h1.example"));
        assert!(!Entry::parse(&line).unwrap().is_of("h2.example"));
        let file = File::of(&format!("h1.example {KEY}\n"));
        assert!(file.run(json!({"name": "H1.example", "key": format!("h1.example {KEY}"), "hash_host": true})).changed);
        assert!(file.content().starts_with("|1|") && file.content().lines().count() == 1, "{}", file.content());
        assert!(file.run(json!({"name": "h1.example", "key": format!("h1.example {KEY}")})).changed);
        assert_eq!(file.content(), format!("h1.example {KEY}\n"), "the name can be read again");
    }

    #[test]
    fn a_host_goes_with_all_its_keys_or_with_one() {
        let all = format!("h1 {KEY}\n[h1]:22 {KEY}\nh1 ssh-rsa AAAA\nh2 {KEY}\n");
        let rsa = "h1 ssh-rsa AAAAB3NzaC1yc2E=";
        let file = File::of(&all);
        let result = file.run(json!({"name": "h1", "key": rsa, "state": "absent"}));
        assert!(result.changed, "the key of this kind goes, whichever it is");
        assert_eq!(file.content(), format!("h1 {KEY}\n[h1]:22 {KEY}\nh2 {KEY}\n"));
        assert!(file.run(json!({"name": "h1", "state": "absent"})).changed);
        assert_eq!(file.content(), format!("[h1]:22 {KEY}\nh2 {KEY}\n"));
        assert!(file.run(json!({"name": "[h1]:22", "state": "absent"})).changed);
        assert_eq!(file.content(), format!("h2 {KEY}\n"));
    }

    #[test]
    fn an_authority_stands_beside_another() {
        let old = format!("@cert-authority *.example {KEY}\n");
        let file = File::of(&old);
        let new = format!("@cert-authority *.example {OTHER}");
        assert!(file.run(json!({"name": "*.example", "key": new})).changed);
        assert_eq!(file.content(), format!("{old}{new}\n"));
        assert!(file.run(json!({"name": "*.example", "key": new, "state": "absent"})).changed);
        assert_eq!(file.content(), old);
    }

    #[test]
    fn what_differs_is_among_the_results_even_if_nothing_does() {
        let file = File::of(&format!("h1 {KEY}\n"));
        let result = file.run(json!({"name": "h1", "key": format!("h1 {KEY}")}));
        let diff = result.get("diff").unwrap().as_map().unwrap();
        assert!(!result.changed && diff["before"] == diff["after"], "{result:?}");
    }

    #[test]
    fn check_mode_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known");
        let result = check(&KnownHosts, json!({"name": "h1", "key": format!("h1 {KEY}"), "path": path}));
        assert!(result.changed && !path.exists() && result.get("name").is_none(), "{result:?}");
        assert_eq!(result.diff[0].after.as_str(), Some(format!("h1 {KEY}\n").as_str()));
        let result = run(&KnownHosts, json!({"name": "h1", "state": "absent", "path": path}));
        assert!(!result.changed && !path.exists());
    }

    #[test]
    fn what_cannot_be_meant_is_told_in_ansibles_words() {
        let file = File::of("");
        for (args, msg) in [
            (json!({"name": "h1"}), "No key specified when adding a host"),
            (json!({"name": "h1,h2", "key": "h1 x y"}), "Comma separated list of names is not supported."),
            (json!({"name": "h2", "key": format!("h1 {KEY}")}), "Host parameter does not match hashed host field"),
            (json!({"name": "h1", "key": "h1 garbage"}), "Host parameter does not match hashed host field"),
            (json!({"name": "h1", "key": "h1 ssh-foo AAAA"}), "Host parameter does not match hashed host field"),
            (json!({"name": "h1", "key": format!("@no h1 {KEY}")}), "Host parameter does not match hashed host field"),
            (json!({"name": "h1", "key": ""}), "No key specified when adding a host"),
        ] {
            let result = file.run(args);
            assert!(result.failed && result.msg().starts_with(msg), "{}", result.msg());
        }
    }
}
