//! Which hosts a pattern means: `all`, names, groups, `web*`, `~web\d+`, `a:b`, `a,b`, `a:&b`, `a:!b`, `web[0]`,
//! `web[1:3]`.
//!
//! An empty target is never "all": a name that nobody has and a pattern that leaves nobody are errors. Ansible warns and
//! goes on, so a misspelt `!production` reaches production.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use indexmap::IndexSet;
use rustle_agent::module::args::nearest;
use rustle_protocol::HostName;

use super::port::is_ipv6;
use super::{HostId, Inventory, LOCALHOSTS};
use crate::input::source::shown;

/// Size of a file given as `--limit @FILE`: ten times the longest list of hosts.
const LIMIT_FILE_BYTES_MAX: u64 = 16 << 20;

/// Why a pattern means nobody.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    #[error("no host or group is called `{}`", shown(.part))]
    Unknown { part: String, nearest: Option<String> },
    #[error("the pattern `{}` matches no host", shown(.pattern))]
    Empty { pattern: String },
    #[error("the inventory holds no host, so `{}` matches none", shown(.pattern))]
    NoHosts { pattern: String },
    #[error("`{}` asks for more than the {hosts} hosts of `{}`, which are numbered from 0", shown(.part), shown(.of))]
    Subscript { part: String, of: String, hosts: usize },
    #[error("`{}` is not a pattern: {why}", shown(.part))]
    Syntax { part: String, why: String },
    #[error("{}: the file given with @ cannot be read", .path.display())]
    File { path: PathBuf, source: io::Error },
}

impl PatternError {
    /// What the operator can do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            PatternError::Unknown { nearest: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            PatternError::Unknown { .. } | PatternError::Empty { .. } | PatternError::Subscript { .. } => {
                Some("`rustle-exec inventory --graph` shows hosts and groups".into())
            }
            PatternError::NoHosts { .. } => Some("give an inventory with -i".into()),
            PatternError::Syntax { .. } | PatternError::File { .. } => None,
        }
    }
}

/// The hosts that `pattern` means, each once, in Ansible's order. `localhost` need not be in the inventory if it is
/// named literally. A list of patterns is one pattern, joined by commas.
///
/// # Errors
/// A name that is neither a host's nor a group's, whatever sign stands before it; a pattern that leaves nobody.
pub fn select(inventory: &Inventory, pattern: &str) -> Result<Vec<HostName>, PatternError> {
    let selected = select_by(pattern, |part| matches(inventory, part))?;
    let pattern = || pattern.to_owned();
    match (selected.is_empty(), inventory.host_count()) {
        (false, _) => Ok(selected.into_iter().collect()),
        (true, 0) => Err(PatternError::NoHosts { pattern: pattern() }),
        (true, _) => Err(PatternError::Empty { pattern: pattern() }),
    }
}

/// As [`select`] for the `hosts` of a play, where Ansible goes on: a name that nobody has means nobody, and is in the
/// second list; nobody at all is no error.
///
/// # Errors
/// What is not a pattern.
pub fn select_known(inventory: &Inventory, pattern: &str) -> Result<(Vec<HostName>, Vec<String>), PatternError> {
    let mut unknown = Vec::new();
    let selected = select_by(pattern, |part| match matches(inventory, part) {
        Err(PatternError::Unknown { part, .. }) => {
            // Everybody is nobody while nobody is known.
            if part != "all" && !unknown.contains(&part) {
                unknown.push(part);
            }
            Ok(Vec::new())
        }
        Err(PatternError::Subscript { .. } | PatternError::Empty { .. } | PatternError::NoHosts { .. }) => {
            Ok(Vec::new())
        }
        Ok(hosts) if hosts.is_empty() && fits_nothing(inventory, part) => {
            unknown.push(part.to_owned());
            Ok(hosts)
        }
        other => other,
    })?;
    Ok((selected.into_iter().collect(), unknown))
}

/// Whether a part that found no host means no group either: that of an empty group is no mistake.
fn fits_nothing(inventory: &Inventory, part: &str) -> bool {
    let matcher = split_subscript(part).and_then(|(name, _)| Matcher::new(name));
    matcher.is_ok_and(|matcher| {
        !matches!(matcher, Matcher::Name(_)) && !inventory.groups().any(|(_, group)| matcher.fits(&group.name))
    })
}

/// Puts the parts of a pattern together: plain ones add, `&` keeps, `!` takes away.
fn select_by(
    pattern: &str,
    mut matches: impl FnMut(&str) -> Result<Vec<HostName>, PatternError>,
) -> Result<IndexSet<HostName>, PatternError> {
    let parts = split(pattern);
    if let Some(sign) = parts.iter().find(|part| matches!(**part, "!" | "&")) {
        let why = format!("no name stands behind a `{sign}`");
        return Err(PatternError::Syntax { part: pattern.to_owned(), why });
    }
    let signed = |sign: char| parts.iter().filter_map(move |part| part.strip_prefix(sign));
    let plain: Vec<&str> = parts.iter().copied().filter(|part| !part.starts_with(['&', '!'])).collect();
    let mut selected = IndexSet::new();
    match plain[..] {
        [] if parts.is_empty() => {}
        [] => selected.extend(matches("all")?),
        ref plain => {
            for part in plain {
                selected.extend(matches(part)?);
            }
        }
    }
    for part in signed('&') {
        let both: IndexSet<HostName> = matches(part)?.into_iter().collect();
        selected.retain(|host| both.contains(host));
    }
    for part in signed('!') {
        let out: IndexSet<HostName> = matches(part)?.into_iter().collect();
        selected.retain(|host| !out.contains(host));
    }
    Ok(selected)
}

/// As [`select`], where `@FILE` stands for the patterns in a file, one on each line.
///
/// # Errors
/// As [`select`], and a file that cannot be read.
pub fn limit(inventory: &Inventory, pattern: &str) -> Result<Vec<HostName>, PatternError> {
    match parts_of_limit(pattern)? {
        parts if parts.is_empty() => Err(PatternError::Empty { pattern: pattern.to_owned() }),
        parts => select(inventory, &parts.join(",")),
    }
}

/// As [`limit`] while tasks add hosts and groups: a name that nobody has yet means nobody.
///
/// # Errors
/// What is not a pattern, and a file that cannot be read.
pub(super) fn limit_known(inventory: &Inventory, pattern: &str) -> Result<Vec<HostName>, PatternError> {
    Ok(select_known(inventory, &parts_of_limit(pattern)?.join(","))?.0)
}

fn parts_of_limit(pattern: &str) -> Result<Vec<String>, PatternError> {
    let mut parts = Vec::new();
    for part in pattern.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.strip_prefix('@') {
            Some(path) => parts.extend(lines_of(PathBuf::from(path))?),
            None => parts.push(part.to_owned()),
        }
    }
    Ok(parts)
}

fn lines_of(path: PathBuf) -> Result<Vec<String>, PatternError> {
    let mut text = String::new();
    fs::File::open(&path)
        .and_then(|file| file.take(LIMIT_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|source| PatternError::File { path, source })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// The name most like `wrong`.
pub(super) fn nearest_to<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(wrong, names).map(str::to_owned)
}

/// Parts of a pattern, separated by commas, or by colons and space outside of brackets. An IPv6 address between commas is
/// one part.
fn split(pattern: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for piece in pattern.split(',') {
        if is_ipv6(piece.trim().trim_start_matches(['!', '&'])) {
            parts.push(piece);
            continue;
        }
        let (mut start, mut depth) = (0, 0_u32);
        for (at, c) in piece.char_indices() {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                c if depth == 0 && (c == ':' || c.is_whitespace()) => {
                    parts.push(&piece[start..at]);
                    start = at + c.len_utf8();
                }
                _ => {}
            }
        }
        parts.push(&piece[start..]);
    }
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// The hosts that one part means, without its sign.
fn matches(inventory: &Inventory, part: &str) -> Result<Vec<HostName>, PatternError> {
    let (name, subscript) = split_subscript(part)?;
    let hosts: Vec<HostId> = match Matcher::new(name)? {
        Matcher::Name(name) => match (inventory.group_id(name), inventory.host_id(name)) {
            (Some(group), _) => inventory.members(group),
            (None, Some(host)) => vec![host],
            (None, None) => return implicit_localhost(inventory, name),
        },
        matcher => matching(inventory, &matcher),
    };
    let chosen = match subscript {
        None => &hosts[..],
        Some(subscript) => subscript.choose(&hosts).ok_or_else(|| PatternError::Subscript {
            part: part.to_owned(),
            of: name.to_owned(),
            hosts: hosts.len(),
        })?,
    };
    Ok(chosen.iter().map(|id| inventory.name(*id).clone()).collect())
}

fn implicit_localhost(inventory: &Inventory, name: &str) -> Result<Vec<HostName>, PatternError> {
    let local = LOCALHOSTS.contains(&name).then(|| HostName::new(name).ok()).flatten();
    local
        .map(|host| vec![host])
        .ok_or_else(|| PatternError::Unknown { part: name.to_owned(), nearest: nearest_to(name, inventory.names()) })
}

/// Hosts of every group that fits, then hosts that fit themselves, both in order of appearance.
fn matching(inventory: &Inventory, matcher: &Matcher<'_>) -> Vec<HostId> {
    let mut found = IndexSet::new();
    for (id, group) in inventory.groups() {
        if matcher.fits(&group.name) {
            found.extend(inventory.members(id));
        }
    }
    found.extend(inventory.hosts().filter(|(_, name)| matcher.fits(name.as_str())).map(|(id, _)| id));
    found.into_iter().collect()
}

enum Matcher<'a> {
    Name(&'a str),
    Regex(Box<fancy_regex::Regex>),
}

impl Matcher<'_> {
    fn new(part: &str) -> Result<Matcher<'_>, PatternError> {
        let text = match part.strip_prefix('~') {
            Some(regex) => format!(r"\A(?:{regex})"),
            None if part.contains(['*', '?', '[']) => glob(part),
            None => return Ok(Matcher::Name(part)),
        };
        let wrong = |why: String| PatternError::Syntax { part: part.to_owned(), why };
        let regex = fancy_regex::Regex::new(&text);
        regex.map(|regex| Matcher::Regex(Box::new(regex))).map_err(|error| wrong(error.to_string()))
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Matcher::Name(own) => *own == name,
            // A regex that gives up fits nobody.
            Matcher::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

/// What a pattern of a shell means, as a regex: `*`, `?`, `[a-z]` and `[!a-z]`, as Python's `fnmatch` reads them. Every text
/// is one: a `[` that nothing closes stands for itself, and a range that runs backwards holds nothing.
fn glob(pattern: &str) -> String {
    let mut regex = r"(?s)\A".to_owned();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => match class_end(rest) {
                Some(end) => {
                    regex.push_str(&class(&rest[..end]));
                    rest = &rest[end + 1..];
                }
                None => regex.push_str(r"\["),
            },
            other => regex.push_str(&literally(other)),
        }
    }
    regex + r"\z"
}

/// Where the `]` of a class stands: not at its beginning, where it is a member.
fn class_end(inner: &str) -> Option<usize> {
    let members = inner.strip_prefix('!').unwrap_or(inner);
    let first = members.chars().next()?;
    let skipped = inner.len() - members.len() + first.len_utf8();
    if members[first.len_utf8()..].is_empty() { None } else { inner[skipped..].find(']').map(|at| skipped + at) }
}

/// The regex of a class by what stands between its brackets.
fn class(inner: &str) -> String {
    let (negated, members) = inner.strip_prefix('!').map_or((false, inner), |members| (true, members));
    let mut regex = String::new();
    let members: Vec<char> = members.chars().collect();
    let mut rest = &members[..];
    while let [first, tail @ ..] = rest {
        match tail {
            ['-', last, tail @ ..] => {
                if first <= last {
                    regex.push_str(&format!("{}-{}", literally(*first), literally(*last)));
                }
                rest = tail;
            }
            tail => {
                regex.push_str(&literally(*first));
                rest = tail;
            }
        }
    }
    match (regex.is_empty(), negated) {
        (true, true) => ".".to_owned(),
        (true, false) => "(?!)".to_owned(),
        (false, true) => format!("[^{regex}]"),
        (false, false) => format!("[{regex}]"),
    }
}

/// A character that means nothing else, inside a class and outside.
fn literally(c: char) -> String {
    format!(r"\x{{{:x}}}", u32::from(c))
}

/// `[2]`, `[-1]`, `[1:3]` (both ends included), `[1:]`.
#[derive(Clone, Copy)]
enum Subscript {
    One(i64),
    Span(usize, Option<usize>),
}

impl Subscript {
    fn choose(self, hosts: &[HostId]) -> Option<&[HostId]> {
        match self {
            Subscript::One(at) => {
                let at = if at < 0 {
                    hosts.len().checked_sub(usize::try_from(-at).ok()?)?
                } else {
                    usize::try_from(at).ok()?
                };
                hosts.get(at..=at)
            }
            Subscript::Span(first, last) => {
                let end = last.map_or(hosts.len(), |last| last.saturating_add(1).min(hosts.len()));
                hosts.get(first..end).filter(|span| !span.is_empty())
            }
        }
    }
}

fn split_subscript(part: &str) -> Result<(&str, Option<Subscript>), PatternError> {
    let whole = Ok((part, None));
    if part.starts_with('~') {
        return whole;
    }
    let Some((name, inner)) = part.strip_suffix(']').and_then(|head| head.rsplit_once('[')) else { return whole };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let too_large = || PatternError::Syntax { part: part.to_owned(), why: "the number is too large".into() };
    if name.is_empty() {
        return whole;
    }
    if digits(inner.strip_prefix('-').unwrap_or(inner)) {
        let at = inner.parse().map_err(|_| too_large())?;
        return Ok((name, Some(Subscript::One(at))));
    }
    match inner.split_once([':', '-']) {
        Some((first, last)) if digits(first) && (last.is_empty() || digits(last)) => {
            let first = first.parse().map_err(|_| too_large())?;
            let last = if last.is_empty() { None } else { Some(last.parse().map_err(|_| too_large())?) };
            Ok((name, Some(Subscript::Span(first, last))))
        }
        _ => whole,
    }
}
