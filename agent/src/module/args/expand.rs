//! `~` and `$NAME` in paths, as Python's `expanduser` and `expandvars` read them.

/// [`expand_with`] this process' own environment.
pub(super) fn expand(path: &str) -> String {
    expand_with(path, |name| std::env::var(name).ok())
}

/// The home directory of a user, from `/etc/passwd`.
fn home_of(user: &str) -> Option<String> {
    let accounts = crate::accounts::Accounts::read(std::path::Path::new("/")).ok()?;
    accounts.user(user).map(|user| user.home.clone())
}

/// That of whom this process runs as.
fn own_home() -> Option<String> {
    let accounts = crate::accounts::Accounts::read(std::path::Path::new("/")).ok()?;
    accounts.user_by_uid(rustix::process::geteuid().as_raw()).map(|user| user.home.clone())
}

/// Expands a leading `~` or `~user` and every `$NAME` or `${NAME}` that is set, as Python's `expanduser` and `expandvars` do.
pub(crate) fn expand_with(path: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let home = || lookup("HOME").or_else(own_home);
    let path = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            home().map_or_else(|| path.to_owned(), |home| home + rest)
        }
        Some(rest) => {
            let (user, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            home_of(user).map_or_else(|| path.to_owned(), |home| home + below)
        }
        _ => path.to_owned(),
    };
    let Some((before, after)) = path.split_once('$') else { return path };
    let (mut out, mut rest) = (before.to_owned(), Some(after));
    while let Some(tail) = rest {
        let (name, skipped) = variable_name(tail);
        match lookup(name) {
            Some(value) if !name.is_empty() => out.push_str(&value),
            _ => {
                out.push('$');
                out.push_str(&tail[..skipped]);
            }
        }
        match tail[skipped..].split_once('$') {
            Some((text, next)) => {
                out.push_str(text);
                rest = Some(next);
            }
            None => {
                out.push_str(&tail[skipped..]);
                rest = None;
            }
        }
    }
    out
}

/// The variable's name after a `$`, and how much of the text it takes up.
fn variable_name(tail: &str) -> (&str, usize) {
    if let Some((name, _)) = tail.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return (name, name.len() + 2);
    }
    let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
    (&tail[..end], end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_expanded_as_python_does() {
        let home = std::env::var("HOME").unwrap();
        assert_eq!(expand("~/x"), format!("{home}/x"));
        assert_eq!(expand("$HOME/${HOME}/$NOT_SET_x/$"), format!("{home}/{home}/$NOT_SET_x/$"));
        assert_eq!(expand("/a~b"), "/a~b");
        assert_eq!(
            (expand("~root/x"), expand("~no-such-user/x")),
            ("/root/x".to_owned(), "~no-such-user/x".to_owned())
        );
    }
}
