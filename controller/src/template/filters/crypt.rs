//! Hashes of passwords as `/etc/shadow` has them: the filter `password_hash`, and `encrypt` of the lookup `password`.
//! Methods, default rounds and sentences are those of Ansible with passlib.

use minijinja::value::Value;
use minijinja::{Environment, Error};
use sha_crypt::Params as Rounds;

use super::params::{Filter, add_filters};
use crate::template::convert::failed;
use crate::template::deferred::{self, Answer};
use crate::template::{filters, python};

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(
        env,
        &[Filter("password_hash", &["hashtype", "salt", "salt_size", "rounds", "ident"], |secret, params| {
            let text = |name| params.get(name).filter(|value| !value.is_none()).map(python::text);
            let number =
                |name| params.get(name).filter(|value| !value.is_none()).map(|_| params.int(name, 0)).transpose();
            let hashtype = params.text("hashtype", "sha512");
            let method = Method::of_filter(&hashtype).ok_or_else(|| {
                failed(format!(
                    "{hashtype} is not in the list of supported passlib algorithms: md5, blowfish, sha256, sha512"
                ))
            })?;
            let secret = secret.as_str().ok_or_else(|| {
                failed(format!("secret must be unicode or bytes, not {}", filters::python_type(secret)))
            })?;
            let salt_size = number("salt_size").map_err(|_| failed("salt_size must be an integer"))?;
            let salt_size = salt_size.and_then(|size| usize::try_from(size).ok());
            let rounds = number("rounds")?.map(|rounds| u32::try_from(rounds).unwrap_or_default());
            let wanted = Wanted { method, salt: text("salt"), salt_size, rounds, ident: text("ident") };
            hashed(secret, wanted)
        })],
    );
}

/// A way to hash passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Md5,
    Sha256,
    Sha512,
    Bcrypt,
}

impl Method {
    fn of_filter(name: &str) -> Option<Method> {
        match name {
            "md5" => Some(Method::Md5),
            "sha256" => Some(Method::Sha256),
            "sha512" => Some(Method::Sha512),
            "blowfish" => Some(Method::Bcrypt),
            name => Method::of_lookup(name),
        }
    }

    pub(super) fn of_lookup(name: &str) -> Option<Method> {
        match name {
            "md5_crypt" => Some(Method::Md5),
            "sha256_crypt" => Some(Method::Sha256),
            "sha512_crypt" => Some(Method::Sha512),
            "bcrypt" => Some(Method::Bcrypt),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Method::Md5 => "md5_crypt",
            Method::Sha256 => "sha256_crypt",
            Method::Sha512 => "sha512_crypt",
            Method::Bcrypt => "bcrypt",
        }
    }

    /// Characters of a salt that nobody gave, which is the most there may be.
    fn salt_size(self) -> usize {
        match self {
            Method::Md5 => 8,
            Method::Sha256 | Method::Sha512 => 16,
            Method::Bcrypt => 22,
        }
    }
}

/// How a password is to be hashed.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) method: Method,
    pub(super) salt: Option<String>,
    pub(super) salt_size: Option<usize>,
    pub(super) rounds: Option<u32>,
    /// The kind of `bcrypt`.
    pub(super) ident: Option<String>,
}

/// The hash. It takes up to a second, where nobody is held up by it.
pub(super) fn hashed(secret: &str, wanted: Wanted) -> Result<Value, Error> {
    let question = format!("password_hash {wanted:?} {secret}");
    let secret = secret.to_owned();
    let work = move || -> Answer {
        hash(&secret, &wanted).map(|hash| vec![hash.into()]).map_err(|why| format!("Could not hash the secret: {why}"))
    };
    let answer = deferred::ask(question, work)?.map_err(failed)?;
    Ok(answer.first().and_then(rustle_protocol::Value::as_str).map(Value::from).unwrap_or_default())
}

/// Salt of a method that nobody gave.
///
/// # Errors
/// If the system gives no random numbers.
pub(super) fn random_salt(method: Method) -> Result<String, String> {
    random_text(method.salt_size(), ALPHABET)
}

/// `length` characters of `alphabet`, which has some, each as likely as any other, from the system's random numbers.
///
/// # Errors
/// If there are none.
pub(super) fn random_text(length: usize, alphabet: &str) -> Result<String, String> {
    let characters: Vec<char> = alphabet.chars().collect();
    let count = u32::try_from(characters.len()).unwrap_or(u32::MAX).max(1);
    // Numbers beyond the last whole multiple would make the first characters likelier.
    let limit = u32::MAX - u32::MAX % count;
    let mut text = String::with_capacity(length);
    let mut left = length;
    while left > 0 {
        let mut bytes = [0; 4];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| error.to_string())?;
        let number = u32::from_le_bytes(bytes);
        if number < limit {
            text.push(characters[(number % count) as usize]);
            left -= 1;
        }
    }
    Ok(text)
}

/// The alphabet of `crypt`, and of salts.
const ALPHABET: &str = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The same letters in the order that `bcrypt` has them.
const BCRYPT_ALPHABET: &str = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

fn hash(secret: &str, wanted: &Wanted) -> Result<String, String> {
    let method = wanted.method;
    let size = wanted.salt_size.unwrap_or(method.salt_size());
    let salt = wanted.salt.clone().map_or_else(|| random_text(size, ALPHABET), Ok)?;
    let name = method.name();
    if !salt.chars().all(|c| ALPHABET.contains(c)) {
        return Err(format!("invalid characters in {name} salt"));
    }
    let (length, most) = (salt.len(), method.salt_size());
    if method == Method::Bcrypt && length < most {
        return Err(format!("salt too small ({name} requires exactly {most} chars)"));
    }
    if length > most {
        let rule = if method == Method::Bcrypt { "exactly" } else { "<=" };
        return Err(format!("salt too large ({name} requires {rule} {most} chars)"));
    }
    match method {
        Method::Md5 => Ok(format!("$1${salt}${}", md5_crypt(secret.as_bytes(), salt.as_bytes()))),
        Method::Sha256 | Method::Sha512 => sha(secret, &salt, wanted),
        Method::Bcrypt => bcrypt(secret, &salt, wanted),
    }
}

fn sha(secret: &str, salt: &str, wanted: &Wanted) -> Result<String, String> {
    let is_256 = wanted.method == Method::Sha256;
    let rounds = wanted.rounds.unwrap_or(if is_256 { 535_000 } else { 656_000 });
    let name = wanted.method.name();
    if rounds < Rounds::ROUNDS_MIN {
        return Err(format!("rounds too low ({name} requires >= {} rounds)", Rounds::ROUNDS_MIN));
    }
    let params = Rounds::new(rounds).map_err(|error| error.to_string())?;
    let (secret, bytes) = (secret.as_bytes(), salt.as_bytes());
    let (id, text) = if is_256 {
        (5, encoded(&sha_crypt::sha256_crypt(secret, bytes, params), SHA256_ORDER, &[31, 30]))
    } else {
        (6, encoded(&sha_crypt::sha512_crypt(secret, bytes, params), SHA512_ORDER, &[63]))
    };
    // The number that the method began with is not written.
    let shown = if rounds == 5_000 { String::new() } else { format!("rounds={rounds}$") };
    Ok(format!("${id}${shown}{salt}${text}"))
}

fn bcrypt(secret: &str, salt: &str, wanted: &Wanted) -> Result<String, String> {
    let cost = wanted.rounds.unwrap_or(12);
    let version = match wanted.ident.as_deref().unwrap_or("2b") {
        "2b" => bcrypt::Version::TwoB,
        "2a" => bcrypt::Version::TwoA,
        "2y" => bcrypt::Version::TwoY,
        other => return Err(format!("invalid ident: '{other}'; known are 2a, 2b and 2y")),
    };
    let mut bytes = [0u8; 16];
    let mut bits = 0u32;
    let (mut held, mut at) = (0, 0);
    for letter in salt.chars() {
        bits = (bits << 6) | BCRYPT_ALPHABET.find(letter).unwrap_or_default() as u32;
        held += 6;
        if held >= 8 && at < bytes.len() {
            held -= 8;
            bytes[at] = (bits >> held) as u8;
            at += 1;
        }
    }
    let parts = bcrypt::hash_with_salt(secret, cost, bytes).map_err(|error| error.to_string())?;
    Ok(parts.format_for_version(version))
}

/// The order in which the bytes of a hash are written, three at a time.
const SHA256_ORDER: [[usize; 3]; 10] = rotated::<10>(10, [0, 2, 1]);
const SHA512_ORDER: [[usize; 3]; 21] = rotated::<21>(21, [0, 1, 2]);
const MD5_ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// Triples one `stride` apart, the first of them turned by none, one or two places in turn.
const fn rotated<const N: usize>(stride: usize, turns: [usize; 3]) -> [[usize; 3]; N] {
    let mut order = [[0; 3]; N];
    let mut at = 0;
    while at < N {
        let turn = turns[at % 3];
        let mut place = 0;
        while place < 3 {
            order[at][place] = at + stride * ((place + turn) % 3);
            place += 1;
        }
        at += 1;
    }
    order
}

/// A hash in the alphabet of `crypt`: in `order`, and what is left at the end, high byte first.
fn encoded<const N: usize>(bytes: &[u8], order: [[usize; 3]; N], rest: &[usize]) -> String {
    let mut text = String::new();
    let mut write = |places: &[usize]| {
        let mut bits = places.iter().fold(0u32, |bits, place| (bits << 8) | u32::from(bytes[*place]));
        for _ in 0..=places.len() {
            text.push(char::from(ALPHABET.as_bytes()[(bits & 63) as usize]));
            bits >>= 6;
        }
    };
    order.iter().for_each(|places| write(places));
    write(rest);
    text
}

/// Poul-Henning Kamp's hash of FreeBSD 2.0, with its thousand rounds.
fn md5_crypt(secret: &[u8], salt: &[u8]) -> String {
    use sha2::Digest;
    let digest = |parts: &[&[u8]]| -> [u8; 16] {
        let mut hasher = md5::Md5::new();
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finalize().into()
    };
    let mixed = digest(&[secret, salt, secret]);
    let mut hasher = md5::Md5::new();
    for part in [secret, b"$1$", salt] {
        hasher.update(part);
    }
    for at in (0..secret.len()).step_by(16) {
        hasher.update(&mixed[..(secret.len() - at).min(16)]);
    }
    let mut bits = secret.len();
    while bits > 0 {
        hasher.update(if bits & 1 == 1 { &[0][..] } else { &secret[..1] });
        bits >>= 1;
    }
    let mut last: [u8; 16] = hasher.finalize().into();
    for round in 0..1000 {
        let is_odd = round % 2 == 1;
        let salt = if round % 3 == 0 { &[][..] } else { salt };
        let again = if round % 7 == 0 { &[][..] } else { secret };
        last = if is_odd { digest(&[secret, salt, again, &last]) } else { digest(&[&last, salt, again, secret]) };
    }
    encoded(&last, MD5_ORDER, &[11])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, salt: &str, rounds: Option<u32>, ident: Option<&str>) -> Result<String, String> {
        let (salt, ident) = (Some(salt.to_owned()), ident.map(str::to_owned));
        hash("x", &Wanted { method, salt, salt_size: None, rounds, ident })
    }

    /// Made by ansible-core 2.19 with passlib 1.7.4 of the password `x`.
    #[test]
    fn hashes_are_those_of_passlib() {
        for (method, salt, rounds, ident, expected) in [
            (
                Method::Sha512,
                "saltsalt",
                Some(5000),
                None,
                "$6$saltsalt$8RWsOfwR6M6PpnoeQiEiWzNTPo1f0HjVYjDnLZhGx16aBFRkeqiHAzfXP/LgrOWMBMXqiU2pLrXsSOHNUyUm91",
            ),
            (
                Method::Sha256,
                "saltsalt",
                Some(1000),
                None,
                "$5$rounds=1000$saltsalt$z3t6rrtFn3lMdv6AmvXeEFzPOKLJ2JypZJIYx/pmpp/",
            ),
            (Method::Md5, "saltsalt", None, None, "$1$saltsalt$4px9i58NU2Z2/vZOUlGjq."),
            (
                Method::Bcrypt,
                "123456789012345678901u",
                None,
                Some("2b"),
                "$2b$12$123456789012345678901ukyk9eMZtipghwIcUIIwaJ.trvgOVw3S",
            ),
        ] {
            assert_eq!(of(method, salt, rounds, ident).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_salt_that_the_method_does_not_take_is_refused() {
        assert_eq!(of(Method::Sha512, "a b", None, None), Err("invalid characters in sha512_crypt salt".to_owned()));
        let long = "a".repeat(32);
        assert_eq!(
            of(Method::Sha512, &long, None, None),
            Err("salt too large (sha512_crypt requires <= 16 chars)".to_owned())
        );
        assert_eq!(
            of(Method::Bcrypt, "short", None, None),
            Err("salt too small (bcrypt requires exactly 22 chars)".to_owned())
        );
    }

    #[test]
    fn random_text_has_the_letters_and_the_length_asked_for() {
        let text = random_text(1000, "ab\u{e9}").unwrap();
        assert_eq!(text.chars().count(), 1000);
        assert!("ab\u{e9}".chars().all(|letter| text.contains(letter)));
    }
}
