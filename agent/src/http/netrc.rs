//! The file in which users keep names and passwords for servers.

use std::path::PathBuf;

use super::auth::Credentials;
use crate::module::ModuleContext;

/// Of a file of passwords; a longer one is none.
const BYTES_MAX: u64 = 1024 * 1024;

/// Who the file that `NETRC` names, else `~/.netrc`, says we are to `host`, which may have a port.
///
/// A file that is not there or cannot be read says nothing, as for every program that looks for it.
pub(super) fn credentials(host: &str, cx: &ModuleContext<'_>) -> Option<Credentials> {
    let path = cx
        .variable("NETRC")
        .map(PathBuf::from)
        .or_else(|| cx.variable("HOME").map(|home| PathBuf::from(home).join(".netrc")))?;
    let is_small_file = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= BYTES_MAX);
    let text = if is_small_file { std::fs::read_to_string(&path).ok()? } else { return None };
    found_in(&text, host).or_else(|| found_in(&text, host.rsplit_once(':')?.0))
}

fn found_in(text: &str, host: &str) -> Option<Credentials> {
    let mut fallback = None;
    for entry in entries(text) {
        match entry.machine {
            Some(machine) if machine == host => return Some(entry.credentials),
            Some(_) => {}
            None => fallback = Some(entry.credentials),
        }
    }
    fallback
}

struct Entry<'a> {
    /// None: for every machine that is not named.
    machine: Option<&'a str>,
    credentials: Credentials,
}

fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    while let Some(word) = words.next() {
        let machine = match word {
            "machine" => match words.next() {
                Some(name) => Some(name),
                None => break,
            },
            "default" => None,
            _ => {
                let value = matches!(word, "login" | "user" | "password" | "account").then(|| words.next()).flatten();
                match (word, value, entries.last_mut()) {
                    ("login" | "user", Some(value), Some(entry)) => entry.credentials.user = value.to_owned(),
                    ("password", Some(value), Some(entry)) => entry.credentials.password = value.to_owned(),
                    _ => {}
                }
                continue;
            }
        };
        entries.push(Entry { machine, credentials: Credentials::default() });
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_found_by_its_name_and_others_by_the_default() {
        let text = "# all of them\nmachine a login bob password x\nmachine b:1\n login eve\n password y z\ndefault login d password e";
        let of = |host: &str| found_in(text, host).map(|found| (found.user, found.password)).unwrap();
        assert_eq!(of("a"), ("bob".into(), "x".into()));
        assert_eq!(of("b:1"), ("eve".into(), "y".into()));
        assert_eq!(of("c"), ("d".into(), "e".into()));
        assert!(found_in("machine", "a").is_none());
    }
}
