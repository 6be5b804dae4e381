//! Parts of URLs.

use super::auth::Credentials;

/// A URL without `user:password@` and without a fragment, and those two.
pub(super) fn credentials_of(url: &str) -> (String, Option<Credentials>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A fragment is for browsers.
    let path = path.split('#').next().unwrap_or_default();
    let Some((credentials, host)) = authority.rsplit_once('@') else {
        return (format!("{scheme}://{authority}{path}"), None);
    };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    (format!("{scheme}://{host}{path}"), Some(Credentials { user: decoded(user), password: decoded(password) }))
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where `target` leads from `base`: another URL, a path from the root, or a path from where we are.
pub(crate) fn resolved(base: &str, target: &str) -> String {
    let Some((scheme, rest)) = base.split_once("://") else { return target.to_owned() };
    // Of the same scheme and without a host, it is about the same host.
    let target = target.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(':')).unwrap_or(target);
    let target = if target.starts_with("///") { &target[2..] } else { target };
    if target.contains("://") {
        return target.to_owned();
    }
    if let Some(target) = target.strip_prefix("//") {
        return format!("{scheme}://{target}");
    }
    let (authority, base_path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = target.split_at(target.find(['?', '#']).unwrap_or(target.len()));
    let base_path = base_path.split('?').next().unwrap_or_default();
    let folder = base_path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = match path {
        "" => base_path.to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => without_dots(&format!("{folder}/{path}")),
    };
    format!("{scheme}://{authority}{path}{query}")
}

/// An absolute path without `.` and `..`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    // What ends with a dot names a folder.
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

/// Scheme, host and port of a URL, as it writes them.
pub(super) fn origin(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some((scheme.to_ascii_lowercase(), host.to_ascii_lowercase()))
}

/// The last part of a URL's path.
pub(crate) fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((_, name)) if !name.is_empty() => name.to_owned(),
        _ => "index.html".to_owned(),
    }
}

/// What stands in the first line of the request.
pub(super) fn path_and_query(url: &str) -> String {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let rest = rest.split('#').next().unwrap_or_default();
    match rest.find(['/', '?']) {
        Some(at) if rest[at..].starts_with('/') => rest[at..].to_owned(),
        Some(at) => format!("/{}", &rest[at..]),
        None => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say() {
        for (base, target, url) in [
            ("http://a/b/c", "http://x/y", "http://x/y"),
            ("http://a/b/c?d", "e", "http://a/b/e"),
            ("http://a/b/c", "/e", "http://a/e"),
            ("https://a", "//b/c", "https://b/c"),
            ("http://a/b/c", "./d/../e?f=../g", "http://a/b/e?f=../g"),
            ("http://a/b/c", "../../..", "http://a/"),
            ("http://a/b/c", "http:d", "http://a/b/d"),
            ("http://a/b/c", "http:///d", "http://a/d"),
            ("http://a/b/c?d", "?e", "http://a/b/c?e"),
        ] {
            assert_eq!(resolved(base, target), url);
        }
    }

    #[test]
    fn credentials_are_taken_out_of_urls() {
        assert_eq!(
            credentials_of("http://bob:p%40ss@a:1/b@c#d"),
            ("http://a:1/b@c".to_owned(), Some(Credentials { user: "bob".to_owned(), password: "p@ss".to_owned() }))
        );
        assert_eq!(credentials_of("http://a/b"), ("http://a/b".to_owned(), None));
    }

    #[test]
    fn servers_are_the_same_if_scheme_host_and_port_are() {
        assert_eq!(origin("http://bob@A:1/b"), origin("http://a:1?c"));
        assert_ne!(origin("http://a:1/"), origin("https://a:1/"));
        assert_ne!(origin("http://a/"), origin("http://a@b/"));
    }
}
