//! Who we are to a server: basic and digest authentication.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest, Sha256};

/// A name and a password.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl Credentials {
    /// The header of somebody who does not wait to be asked.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }

    /// The header that answers one of these challenges, the stronger way if there are two.
    /// None if a server asks for what we do not have.
    pub(super) fn answer(&self, challenges: &[String], method: &str, path: &str) -> Option<String> {
        let of = |scheme: &str| challenges.iter().find_map(|challenge| after_word(challenge, scheme));
        let digest = of("digest").and_then(|challenge| self.digest(challenge, method, path, &nonce()));
        digest.or_else(|| of("basic").map(|_| self.basic()))
    }

    /// RFC 7616, without sessions and without a digest of the body.
    fn digest(&self, challenge: &str, method: &str, path: &str, cnonce: &str) -> Option<String> {
        let parameters = parameters(challenge);
        let field = |name: &str| parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let algorithm = field("algorithm").unwrap_or("MD5");
        let hash: fn(String) -> String = match algorithm.to_ascii_uppercase().as_str() {
            "MD5" => |text| hex(&Md5::digest(text)),
            "SHA-256" => |text| hex(&Sha256::digest(text)),
            _ => return None,
        };
        let (realm, nonce) = (field("realm")?, field("nonce")?);
        let secret = hash(format!("{}:{realm}:{}", self.user, self.password));
        let asked = hash(format!("{method}:{path}"));
        let mut header = format!(
            r#"Digest username="{}", realm="{}", nonce="{nonce}", uri="{path}", algorithm={algorithm}"#,
            quoted(&self.user),
            quoted(realm),
        );
        let response = match field("qop") {
            Some(qop) if qop.split(',').any(|kind| kind.trim() == "auth") => {
                header += &format!(r#", qop=auth, nc=00000001, cnonce="{cnonce}""#);
                hash(format!("{secret}:{nonce}:00000001:{cnonce}:auth:{asked}"))
            }
            Some(_) => return None,
            None => hash(format!("{secret}:{nonce}:{asked}")),
        };
        header += &format!(r#", response="{response}""#);
        if let Some(opaque) = field("opaque") {
            header += &format!(r#", opaque="{}""#, quoted(opaque));
        }
        Some(header)
    }
}

fn nonce() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// What stands after the first word, if that is `word`.
fn after_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    first.eq_ignore_ascii_case(word).then_some(rest)
}

/// `name=value, name="value"`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => until_quote(quoted),
            None => {
                let (value, after) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        parameters.push((name, value));
        rest = after;
    }
    parameters
}

/// The text before the closing quote, without its escapes, and what comes after it.
fn until_quote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mufasa() -> Credentials {
        Credentials { user: "Mufasa".to_owned(), password: "Circle of Life".to_owned() }
    }

    /// The example of RFC 7616, section 3.9.1.
    #[test]
    fn a_digest_is_that_of_the_standards_example() {
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let challenge = format!(
                r#"realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="{nonce}", opaque="FQh""#
            );
            let header = mufasa();
            let header = header.digest(&challenge, "GET", "/dir/index.html", cnonce).unwrap();
            assert!(header.contains(&format!(r#"response="{response}""#)) && header.ends_with(r#"opaque="FQh""#));
        }
    }

    #[test]
    fn the_stronger_of_two_challenges_is_answered_and_an_unknown_one_is_not() {
        let both = ["Basic realm=\"a\"".to_owned(), "digest realm=\"a\\\"b\", nonce=c".to_owned()];
        let header = mufasa().answer(&both, "GET", "/").unwrap();
        assert!(header.starts_with(r#"Digest username="Mufasa", realm="a\"b", nonce="c""#), "{header}");
        assert!(mufasa().answer(&both[..1], "GET", "/").unwrap().starts_with("Basic "));
        for unknown in ["Negotiate", "Digest realm=a, nonce=b, algorithm=MD4", "Digest realm=a", "Digest =", "\""] {
            assert_eq!(mufasa().answer(&[unknown.to_owned()], "GET", "/"), None);
        }
    }
}
