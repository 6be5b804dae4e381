//! `--strip-components`: names without their first parts.

use std::path::{Path, PathBuf};

use crate::files::tree::is_inside;

const OPTIONS: [&str; 2] = ["--strip-components", "--strip"];

/// How many parts `extra_opts` take off every name; none if there are no options.
///
/// # Errors
/// The first option that is another one.
pub(super) fn strip_of(extra_opts: &[String]) -> Result<usize, String> {
    let mut words = extra_opts.iter().flat_map(|option| option.split_whitespace());
    let mut count = 0;
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        if !OPTIONS.contains(&name) {
            return Err(format!(
                "extra_opts: `{word}` is not supported: the agent unpacks by itself, and of tar's options it knows \
                 --strip-components"
            ));
        }
        let value = value.or_else(|| words.next()).unwrap_or_default();
        count = value.parse().map_err(|_| format!("extra_opts: `{value}`: Invalid number of elements"))?;
    }
    Ok(count)
}

/// The name behind its first `count` parts, a leading `.` being one of them, as tar counts; `None` if it has no more.
/// A name that leads out stays as it is, and is refused as such.
pub(super) fn stripped(name: &Path, count: usize) -> Option<PathBuf> {
    if !is_inside(name) {
        return Some(name.to_owned());
    }
    let rest: PathBuf = name.components().skip(count).collect();
    (!rest.as_os_str().is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[&str]) -> Result<usize, String> {
        strip_of(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_option_may_be_written_in_each_of_tars_ways() {
        assert_eq!(of(&[]), Ok(0));
        assert_eq!(of(&[""]), Ok(0));
        for options in
            [&["--strip-components=2"][..], &["--strip-components", "2"], &["--strip-components 2"], &["--strip=2"]]
        {
            assert_eq!(of(options), Ok(2), "{options:?}");
        }
        assert!(of(&["--strip-components=x"]).is_err());
        assert!(
            of(&["--strip-components=1", "--transform=s/a/b/"]).is_err_and(|why| why.contains("`--transform=s/a/b/`"))
        );
    }

    #[test]
    fn a_leading_dot_is_a_part() {
        let behind = |name: &str| stripped(Path::new(name), 1).map(|path| path.display().to_string());
        assert_eq!(behind("app-1.2/bin/app").as_deref(), Some("bin/app"));
        assert_eq!(behind("./bin/app").as_deref(), Some("bin/app"));
        assert_eq!(behind("app-1.2/"), None);
        assert_eq!(behind("../app").as_deref(), Some("../app"));
    }
}
