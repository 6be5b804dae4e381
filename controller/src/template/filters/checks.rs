//! Ansible's tests: on results, files, versions and sets.

use std::cmp::Ordering;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, State, tests};

use super::params::{Args, Params, Test, add_tests, defined, items, plain};
use super::values::truth;
use crate::template::convert::failed;
use crate::template::python;
use crate::template::sealed::refuse_closed;

/// Registers tests of the engine's, each under a name that no author can write, and under Ansible's what calls it with
/// values that are defined.
macro_rules! of_defined {
    ($env:ident, $($test:ident: $($name:literal)+);+) => { $(
        let hidden = concat!("\u{1}", stringify!($test));
        $env.add_test(hidden, tests::$test);
        let call = move |state: &mut State<'_, '_>, args: Args| {
            let args = plain(args);
            args.iter().try_for_each(defined)?;
            state.perform_test(hidden, &args)
        };
        $( $env.add_test($name, call); )+
    )+ };
}

pub(super) fn register(env: &mut Environment<'static>) {
    of_defined!(env,
        is_eq: "eq" "equalto" "==";
        is_ne: "ne" "!=";
        is_filter: "filter";
        is_float: "float";
        is_in: "in";
        is_integer: "integer";
        is_lower: "lower";
        is_safe: "escaped";
        is_sameas: "sameas";
        is_test: "test";
        is_upper: "upper"
    );
    for name in ["defined", "ansible.builtin.defined"] {
        env.add_test(name, |value: &Value| refuse_closed(value).map(|()| !value.is_undefined()));
    }
    for name in ["undefined", "ansible.builtin.undefined"] {
        env.add_test(name, |value: &Value| refuse_closed(value).map(|()| value.is_undefined()));
    }
    add_tests(env, TYPES);
    add_tests(env, TEXTS);
    add_tests(env, RESULTS);
    add_tests(env, FILES);
    add_tests(env, SETS);
    for name in ["version", "version_compare"] {
        add_tests(env, &[Test(name, &["version", "operator", "strict", "version_type"], version)]);
    }
}

/// Those of the engine would take an undefined value for one of some type.
const TYPES: &[Test] = &[
    Test("none", &[], |value, _| Ok(value.is_none())),
    Test("string", &[], |value, _| Ok(value.kind() == ValueKind::String)),
    Test("mapping", &[], |value, _| Ok(value.kind() == ValueKind::Map)),
    Test("boolean", &[], |value, _| Ok(value.kind() == ValueKind::Bool)),
    Test("true", &[], |value, _| Ok(value.kind() == ValueKind::Bool && value.is_true())),
    Test("false", &[], |value, _| Ok(value.kind() == ValueKind::Bool && !value.is_true())),
    // Python's booleans are numbers, and its strings sequences.
    Test("number", &[], |value, _| Ok(value.is_number() || value.kind() == ValueKind::Bool)),
    Test("sequence", &[], |value, _| Ok(matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String))),
    Test("iterable", &[], |value, _| Ok(!value.is_none() && value.try_iter().is_ok())),
    Test("callable", &[], |value, _| Ok(value.kind() == ValueKind::Plain && value.as_object().is_some())),
];

const TEXTS: &[Test] = &[
    Test("uri", &["schemes"], |value, params| has_scheme(value, params, |_| true)),
    Test("url", &["schemes"], |value, params| {
        has_scheme(value, params, |rest| rest.starts_with("//") && rest.len() > 2)
    }),
    Test("urn", &[], |value, _| Ok(python::text(value).to_lowercase().starts_with("urn:"))),
    Test("vaulted_file", &[], |value, _| {
        let path = python::text(value);
        let mut start = Vec::new();
        let read = std::fs::File::open(&path).and_then(|file| {
            std::io::Read::read_to_end(&mut std::io::Read::take(file, VAULT_MARK.len() as u64), &mut start)
        });
        read.map_err(|error| failed(format!("Cannot test if the file '{path}' is a vault: {error}")))?;
        Ok(start == VAULT_MARK.as_bytes())
    }),
];

/// What encrypted text begins with.
const VAULT_MARK: &str = "$ANSIBLE_VAULT";

fn has_scheme(value: &Value, params: &Params, rest_fits: fn(&str) -> bool) -> Result<bool, Error> {
    let text = python::text(value);
    let Some((scheme, rest)) = text.split_once(':') else { return Ok(false) };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let wanted = params.get("schemes").filter(|schemes| schemes.is_true()).map(items).transpose()?;
    let fits = |schemes: &Vec<Value>| schemes.iter().any(|known| known.as_str() == Some(&scheme.to_lowercase()));
    Ok(is_scheme && !rest.is_empty() && rest_fits(rest) && wanted.as_ref().is_none_or(fits))
}

const RESULTS: &[Test] = &[
    Test("failed", &[], |value, _| flag(value, "failed")),
    Test("failure", &[], |value, _| flag(value, "failed")),
    Test("success", &[], |value, _| flag(value, "failed").map(|failed| !failed)),
    Test("succeeded", &[], |value, _| flag(value, "failed").map(|failed| !failed)),
    Test("successful", &[], |value, _| flag(value, "failed").map(|failed| !failed)),
    Test("changed", &[], |value, _| changed(value)),
    Test("change", &[], |value, _| changed(value)),
    Test("skipped", &[], |value, _| flag(value, "skipped")),
    Test("skip", &[], |value, _| flag(value, "skipped")),
    Test("unreachable", &[], |value, _| flag(value, "unreachable")),
    Test("reachable", &[], |value, _| flag(value, "unreachable").map(|unreachable| !unreachable)),
    Test("started", &[], |value, _| of_job(value, "started")),
    Test("finished", &[], |value, _| of_job(value, "finished")),
    Test("timedout", &[], timed_out),
];

fn result<'v>(value: &'v Value, test: &str) -> Result<&'v Value, Error> {
    match value.kind() {
        ValueKind::Map => Ok(value),
        _ => Err(failed(format!("The '{test}' test expects a dictionary"))),
    }
}

fn flag(value: &Value, name: &str) -> Result<bool, Error> {
    let found = result(value, name)?.get_attr(name)?;
    Ok(truth(&found).unwrap_or_else(|| found.is_true()))
}

/// What was no job (`async`) has both begun and ended.
fn of_job(value: &Value, name: &str) -> Result<bool, Error> {
    let found = result(value, name)?.get_attr(name)?;
    Ok(found.is_undefined() || truth(&found).unwrap_or_else(|| found.is_true()))
}

/// A loop has changed something if one of its items has.
fn changed(value: &Value) -> Result<bool, Error> {
    if flag(value, "changed")? {
        return Ok(true);
    }
    let results = value.get_attr("results")?;
    if !matches!(results.kind(), ValueKind::Seq) {
        return Ok(false);
    }
    Ok(items(&results)?.iter().any(|item| item.kind() == ValueKind::Map && flag(item, "changed").unwrap_or(false)))
}

fn timed_out(value: &Value, _: &Params) -> Result<bool, Error> {
    let found = result(value, "timedout")?.get_attr("timedout")?;
    if found.kind() == ValueKind::Map {
        return Ok(found.get_attr("period")?.is_true());
    }
    Ok(found.is_true())
}

/// All on the controller.
const FILES: &[Test] = &[
    Test("file", &[], |value, _| Ok(Path::new(&python::text(value)).is_file())),
    Test("directory", &[], |value, _| Ok(Path::new(&python::text(value)).is_dir())),
    Test("exists", &[], |value, _| Ok(Path::new(&python::text(value)).exists())),
    Test("link", &[], |value, _| Ok(Path::new(&python::text(value)).is_symlink())),
    Test("link_exists", &[], |value, _| Ok(Path::new(&python::text(value)).symlink_metadata().is_ok())),
    Test("abs", &[], |value, _| Ok(python::text(value).starts_with('/'))),
    Test("mount", &[], |value, _| Ok(is_mount(Path::new(&python::text(value))))),
    Test("same_file", &["path"], |value, params| {
        let other = params.text("path", "");
        let identity = |path: &str| std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
        match (identity(&python::text(value)), identity(&other)) {
            (Ok(a), Ok(b)) => Ok(a == b),
            _ => Err(failed(format!("{value} and {other} must both exist"))),
        }
    }),
];

fn is_mount(path: &Path) -> bool {
    let (Ok(here), Ok(above)) = (std::fs::symlink_metadata(path), std::fs::metadata(path.join(".."))) else {
        return false;
    };
    here.dev() != above.dev() || here.ino() == above.ino()
}

const SETS: &[Test] = &[
    Test("subset", &["b"], |value, params| within(value, params.need("b")?)),
    Test("issubset", &["b"], |value, params| within(value, params.need("b")?)),
    Test("superset", &["b"], |value, params| within(params.need("b")?, value)),
    Test("issuperset", &["b"], |value, params| within(params.need("b")?, value)),
    Test("contains", &["item"], |value, params| contains(value, params.need("item")?)),
    Test("all", &[], |value, _| Ok(items(value)?.iter().all(Value::is_true))),
    Test("any", &[], |value, _| Ok(items(value)?.iter().any(Value::is_true))),
    Test("truthy", &["convert_bool"], |value, params| Ok(is_truthy(value, params))),
    Test("falsy", &["convert_bool"], |value, params| Ok(!is_truthy(value, params))),
    Test("nan", &[], |value, _| Ok(f64::try_from(value.clone()).is_ok_and(f64::is_nan))),
    Test("isnan", &[], |value, _| Ok(f64::try_from(value.clone()).is_ok_and(f64::is_nan))),
];

fn within(part: &Value, whole: &Value) -> Result<bool, Error> {
    let (part, whole) = (items(part)?, items(whole)?);
    Ok(part.iter().all(|item| whole.contains(item)))
}

fn contains(value: &Value, item: &Value) -> Result<bool, Error> {
    match value.as_str() {
        Some(text) => Ok(text.contains(&python::text(item))),
        None => Ok(value.try_iter()?.any(|other| other == *item)),
    }
}

fn is_truthy(value: &Value, params: &Params) -> bool {
    if params.flag("convert_bool", false) {
        return truth(value).unwrap_or_else(|| value.is_true());
    }
    value.is_true()
}

fn version(value: &Value, params: &Params) -> Result<bool, Error> {
    let (ours, theirs) = (python::text(value), python::text(params.need("version")?));
    if ours.is_empty() || theirs.is_empty() {
        return Err(failed(if ours.is_empty() {
            "Input version value cannot be empty"
        } else {
            "Version parameter to compare against cannot be empty"
        }));
    }
    let strict = params.flag("strict", false);
    if params.get("strict").is_some_and(|strict| !strict.is_none()) && params.get("version_type").is_some() {
        return Err(failed("Cannot specify both 'strict' and 'version_type'"));
    }
    let kind = params.text("version_type", if strict { "strict" } else { "loose" });
    let order = match kind.as_str() {
        "loose" => loose(&ours, &theirs)?,
        "strict" => strict_parts(&ours)?.cmp(&strict_parts(&theirs)?),
        "semver" | "semantic" => semantic(&ours, &theirs)?,
        "pep440" => pep440(&ours)?.cmp(&pep440(&theirs)?),
        other => {
            return Err(failed(format!(
                "invalid version type ({other}); must be one of loose, strict, semver, semantic, pep440"
            )));
        }
    };
    let operator = params.text("operator", "eq");
    Ok(match operator.as_str() {
        "==" | "=" | "eq" => order == Ordering::Equal,
        "<" | "lt" => order == Ordering::Less,
        "<=" | "le" => order != Ordering::Greater,
        ">" | "gt" => order == Ordering::Greater,
        ">=" | "ge" => order != Ordering::Less,
        "!=" | "<>" | "ne" => order != Ordering::Equal,
        other => {
            return Err(failed(format!(
                "Invalid operator type ({other}). Must be one of '==', '=', 'eq', '<', 'lt', '<=', 'le', '>', 'gt', \
                 '>=', 'ge', '!=', '<>', 'ne'"
            )));
        }
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Number(u64),
    Word(String),
}

/// Runs of digits and of letters, dots between them dropped.
fn parts(version: &str) -> Vec<Part> {
    let mut out = Vec::new();
    let mut rest = version;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let letters = first.is_ascii_lowercase();
        let len = rest
            .find(|c: char| {
                if digits {
                    !c.is_ascii_digit()
                } else if letters {
                    !c.is_ascii_lowercase()
                } else {
                    c.is_ascii_digit() || c.is_ascii_lowercase() || c == '.'
                }
            })
            .unwrap_or(rest.len())
            .max(first.len_utf8());
        let (part, tail) = rest.split_at(len);
        match part.parse() {
            Ok(number) if digits => out.push(Part::Number(number)),
            _ if part != "." => out.push(Part::Word(part.to_owned())),
            _ => {}
        }
        rest = tail;
    }
    out
}

/// As Python's loose versions: part by part; a number and a word cannot be compared.
fn loose(ours: &str, theirs: &str) -> Result<Ordering, Error> {
    let (a, b) = (parts(ours), parts(theirs));
    for (a, b) in a.iter().zip(&b) {
        let order = match (a, b) {
            (Part::Number(a), Part::Number(b)) => a.cmp(b),
            (Part::Word(a), Part::Word(b)) => a.cmp(b),
            _ => {
                return Err(failed(format!(
                    "versions '{ours}' and '{theirs}' cannot be compared: a number stands against a word"
                )));
            }
        };
        if order != Ordering::Equal {
            return Ok(order);
        }
    }
    Ok(a.len().cmp(&b.len()))
}

/// `1.2`, `1.2.3`, with `a4` or `b4` behind.
fn strict_parts(version: &str) -> Result<(Vec<u64>, (char, u64)), Error> {
    let wrong = || failed(format!("Version comparison failed: invalid version number '{version}'"));
    let (numbers, pre) = version.find(['a', 'b']).map_or((version, None), |at| (&version[..at], Some(&version[at..])));
    let mut numbers: Vec<u64> = numbers.split('.').map(|n| n.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    if !(2..=3).contains(&numbers.len()) {
        return Err(wrong());
    }
    numbers.resize(3, 0);
    let pre = match pre {
        None => ('z', 0),
        Some(pre) => (pre.chars().next().unwrap_or('a'), pre[1..].parse().map_err(|_| wrong())?),
    };
    Ok((numbers, pre))
}

fn semantic(ours: &str, theirs: &str) -> Result<Ordering, Error> {
    let split = |version: &str| -> Result<(Vec<u64>, Vec<String>), Error> {
        let wrong = || failed(format!("Version comparison failed: invalid semantic version '{version}'"));
        let version = version.split_once('+').map_or(version, |(version, _)| version);
        let (core, pre) = version.split_once('-').unwrap_or((version, ""));
        let core: Vec<u64> = core.split('.').map(|n| n.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
        let pre = pre.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if core.len() == 3 { Ok((core, pre)) } else { Err(wrong()) }
    };
    let ((core_a, pre_a), (core_b, pre_b)) = (split(ours)?, split(theirs)?);
    let pre = match (pre_a.is_empty(), pre_b.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let by_part = pre_a.iter().zip(&pre_b).map(|(a, b)| match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            });
            by_part.fold(Ordering::Equal, Ordering::then).then(pre_a.len().cmp(&pre_b.len()))
        }
    };
    Ok(core_a.cmp(&core_b).then(pre))
}

/// Epoch, release without trailing zeros, and where the version stands: dev, pre-release, release, post.
type Pep440 = (u64, Vec<u64>, (i8, u64), (bool, u64), (bool, u64));

fn pep440(version: &str) -> Result<Pep440, Error> {
    static FORM: std::sync::LazyLock<regex::Regex> = std::sync::LazyLock::new(|| {
        regex::Regex::new(r"^v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(a|alpha|b|beta|c|rc|pre|preview)[-_.]?(\d*))?(?:[-_.]?(?:post|rev|r)[-_.]?(\d*)|-(\d+))?(?:[-_.]?dev[-_.]?(\d*))?(?:\+[a-z0-9._-]+)?$")
            .expect("the pattern is well formed")
    });
    let lower = version.trim().to_lowercase();
    let found = FORM.captures(&lower).ok_or_else(|| failed(format!("invalid version: '{version}'")))?;
    let number = |index: usize| found.get(index).map(|text| text.as_str().parse::<u64>().unwrap_or(0));
    let mut release: Vec<u64> = found[2].split('.').map(|n| n.parse().unwrap_or(u64::MAX)).collect();
    while release.len() > 1 && release.last() == Some(&0) {
        release.pop();
    }
    let post = number(5).or(number(6));
    let dev = number(7);
    let pre = match found.get(3).map(|stage| stage.as_str()) {
        Some("a" | "alpha") => (1, number(4).unwrap_or(0)),
        Some("b" | "beta") => (2, number(4).unwrap_or(0)),
        Some(_) => (3, number(4).unwrap_or(0)),
        None if post.is_none() && dev.is_some() => (0, 0),
        None => (4, 0),
    };
    let dev = dev.map_or((true, 0), |n| (false, n));
    Ok((number(1).unwrap_or(0), release, pre, (post.is_some(), post.unwrap_or(0)), dev))
}
