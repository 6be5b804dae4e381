//! Shell patterns: `*`, `?`, `[a-z]`, `[!x]`. One matcher for every module that takes them, written out: Python's rules for
//! classes are no library's.

use std::path::{Path, PathBuf};

/// Whether `name` as a whole matches `pattern`, as Python's `fnmatch` decides on Unix: case counts, and a dot or a
/// slash is a character like any other.
pub fn fnmatch(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to take up again if the last `*` has to swallow one character more.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p, n));
            p += 1;
        } else if let Some(width) = matches_one(&pattern[p..], name[n]) {
            p += width;
            n += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            (p, n) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of the pattern stands for `c`, if it does.
fn matches_one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match class(pattern) {
            Some((holds, width)) => holds(c).then_some(width),
            None => (c == '[').then_some(1),
        },
        literal => (*literal == c).then_some(1),
    }
}

/// `[...]`: what it holds, and its width. None if no bracket closes it: then it is a bracket like any other.
fn class(pattern: &[char]) -> Option<(impl Fn(char) -> bool, usize)> {
    let negated = pattern.get(1) == Some(&'!');
    let start = if negated { 2 } else { 1 };
    // A closing bracket right at the beginning stands for itself.
    let end = start + 1 + pattern.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let inside = &pattern[start..end];
    let holds = move |c: char| {
        let mut rest = inside;
        let mut found = false;
        while let Some(first) = rest.first() {
            match rest {
                [low, '-', high, ..] => {
                    found |= (*low..=*high).contains(&c);
                    rest = &rest[3..];
                }
                _ => {
                    found |= *first == c;
                    rest = &rest[1..];
                }
            }
        }
        found != negated
    };
    Some((holds, end + 1))
}

/// A path that matches `pattern`, or the path itself if it is no pattern. Names that begin with a dot are matched only
/// by patterns that do, as in a shell.
pub fn first_match(pattern: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        let text = part.to_string_lossy();
        found = match text.contains(['*', '?', '[']) {
            true => found.iter().flat_map(|dir| matching(dir, &text)).collect(),
            false => found.into_iter().map(|dir| dir.join(part)).collect(),
        };
    }
    found.into_iter().find(|path| std::fs::symlink_metadata(path).is_ok())
}

fn matching(dir: &Path, pattern: &str) -> Vec<PathBuf> {
    let listed = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(entries) = std::fs::read_dir(listed) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    let shown = |name: &str| pattern.starts_with('.') || !name.starts_with('.');
    let matches = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        shown(&name) && fnmatch(pattern, &name)
    };
    let mut paths: Vec<PathBuf> = names.filter(matches).map(|name| dir.join(name)).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_python() {
        let yes = [
            ("ansible_dist*", "ansible_distribution"),
            ("*", ""),
            ("a?c", "abc"),
            ("*b*b", "abab"),
            ("[a-c]x", "bx"),
            ("[!a]x", "bx"),
            ("[]]", "]"),
            ("[", "["),
            ("*.d/*", "x.d/.y"),
            ("[a-]", "-"),
        ];
        let no = [("a?c", "ac"), ("[a-c]", "d"), ("[!a]", "a"), ("abc", "ab"), ("A", "a"), ("*b", "abc"), ("", "a")];
        assert!(yes.iter().all(|(pattern, name)| fnmatch(pattern, name)));
        no.iter().for_each(|(pattern, name)| assert!(!fnmatch(pattern, name), "{pattern} {name}"));
    }

    #[test]
    fn a_path_pattern_finds_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/b.txt"), "").unwrap();
        std::fs::write(dir.path().join("sub/.hidden"), "").unwrap();
        let find = |pattern: &str| first_match(&dir.path().join(pattern));
        assert_eq!(find("s*/*.txt"), Some(dir.path().join("sub/b.txt")));
        assert_eq!(find("sub/b.txt"), Some(dir.path().join("sub/b.txt")));
        assert_eq!(find("sub/h*"), None);
        assert_eq!(find("sub/*.rs"), None);
    }
}
