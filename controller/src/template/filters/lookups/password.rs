//! `password`: a random password, kept in a file so that it is the same next time.

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use minijinja::Error;
use minijinja::value::Value;

use super::Call;
use super::files::read_file;
use crate::template::convert::failed;
use crate::template::filters::crypt::{self, Method};
use crate::template::filters::params::items;
use crate::template::filters::{paths, python_type, random};
use crate::template::python;

/// Characters of one password.
const LENGTH_MAX: usize = 100_000;

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

struct Wanted {
    path: String,
    length: usize,
    characters: String,
    seed: Option<Value>,
    encrypt: Option<Method>,
    ident: Option<String>,
}

pub(super) fn password(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let text = |term: &Value| match term.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(failed(format!("'{}' object has no attribute 'split'", python_type(term)))),
    };
    call.terms.iter().map(|term| one(&wanted(&text(term)?, call)?, call)).collect()
}

/// A path, with `name=value` behind it or as the lookup's own arguments.
fn wanted(term: &str, call: &Call<'_>) -> Result<Wanted, Error> {
    let words: Vec<&str> = term.split(' ').collect();
    let first_option = words.iter().position(|word| word.contains('=')).unwrap_or(words.len());
    let option = |name: &str| {
        let given = words[first_option..].iter().filter_map(|word| word.split_once('='));
        given
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| Value::from(value))
            .next_back()
            .or_else(|| call.option(name).cloned())
    };
    if let Some((unknown, _)) = words[first_option..]
        .iter()
        .filter_map(|word| word.split_once('='))
        .find(|(name, _)| !["length", "encrypt", "chars", "ident", "seed"].contains(name))
    {
        return Err(failed(format!("Unrecognized parameter(s) given to password lookup: {unknown}")));
    }
    let encrypt = option("encrypt").filter(Value::is_true).map(|method| {
        let name = python::text(&method);
        Method::of_lookup(&name).ok_or_else(|| {
            failed(format!(
                "'{name}' is no way to hash that is known here: md5_crypt, sha256_crypt, sha512_crypt, bcrypt"
            ))
        })
    });
    let length = option("length").map_or(Ok(20), |length| call.integer_of("length", "integer", &length))?;
    let length = usize::try_from(length.max(0)).ok().filter(|length| *length <= LENGTH_MAX);
    Ok(Wanted {
        path: words[..first_option].join(" "),
        length: length.ok_or_else(|| failed(format!("length must be a number up to {LENGTH_MAX}")))?,
        characters: characters(option("chars"))?,
        seed: option("seed").map(|seed| Value::from(python::text(&seed))),
        encrypt: encrypt.transpose()?,
        ident: option("ident").filter(Value::is_true).map(|ident| python::text(&ident)),
    })
}

/// Names of Python's sets of characters, or the characters themselves, without quotes.
fn characters(chars: Option<Value>) -> Result<String, Error> {
    let names = match chars {
        None => vec!["ascii_letters".to_owned(), "digits".to_owned(), ".,:-_".to_owned()],
        Some(list) if list.as_str().is_none() => items(&list)?.iter().map(python::text).collect(),
        Some(text) => {
            // Two commas are one that is meant.
            let text = python::text(&text);
            let mut names: Vec<String> =
                text.replace(",,", ",").split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            if text.contains(",,") || text == "," {
                names.push(",".to_owned());
            }
            names
        }
    };
    let set = |name: &String| match name.as_str() {
        "ascii_letters" => format!("{LOWER}{UPPER}"),
        "ascii_lowercase" => LOWER.to_owned(),
        "ascii_uppercase" => UPPER.to_owned(),
        "digits" => "0123456789".to_owned(),
        "hexdigits" => "0123456789abcdefABCDEF".to_owned(),
        "octdigits" => "01234567".to_owned(),
        "punctuation" => PUNCTUATION.to_owned(),
        own => own.to_owned(),
    };
    let all: String = names.iter().map(set).collect::<String>().replace(['"', '\''], "");
    if all.is_empty() { Err(failed("Cannot choose from an empty sequence")) } else { Ok(all) }
}

/// A password in its file: the password, and what it was hashed with.
#[derive(Clone, Default)]
struct Kept {
    password: String,
    salt: Option<String>,
    ident: Option<String>,
}

impl Kept {
    /// `PASSWORD salt=SALT ident=IDENT`, the last two where there are any.
    fn parse(text: &str) -> Kept {
        let text = text.trim_end_matches(['\n', '\r']);
        let (text, ident) = text.rsplit_once(" ident=").map_or((text, None), |(rest, ident)| (rest, Some(ident)));
        let (password, salt) = text.rsplit_once(" salt=").map_or((text, None), |(rest, salt)| (rest, Some(salt)));
        Kept { password: password.to_owned(), salt: salt.map(str::to_owned), ident: ident.map(str::to_owned) }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.password)?;
        for (name, value) in [("salt", &self.salt), ("ident", &self.ident)] {
            if let Some(value) = value {
                write!(f, " {name}={value}")?;
            }
        }
        Ok(())
    }
}

fn one(wanted: &Wanted, call: &Call<'_>) -> Result<Value, Error> {
    let kept = if wanted.path == "/dev/null" { made(wanted)? } else { of_file(wanted, call)? };
    let Some(method) = wanted.encrypt else { return Ok(Value::from(kept.password)) };
    let hash = crypt::Wanted { method, salt: kept.salt, salt_size: None, rounds: None, ident: kept.ident };
    crypt::hashed(&kept.password, hash)
}

/// The password that the file has, or a new one that it has from now on. A salt that is missing is added.
fn of_file(wanted: &Wanted, call: &Call<'_>) -> Result<Kept, Error> {
    let path = PathBuf::from(paths::expand_user(&wanted.path));
    let base = call.directories().into_iter().next().unwrap_or_default();
    let path = if path.is_absolute() { path } else { base.join(path) };
    if !path.exists() {
        let new = salted(made(wanted)?, wanted)?;
        if keep(&path, &new)? {
            return Ok(new);
        }
    }
    let kept = Kept::parse(&read_file(&path, call)?);
    if wanted.encrypt.is_none() || kept.salt.is_some() {
        return Ok(kept);
    }
    let salted = salted(kept, wanted)?;
    replace(&path, &salted)?;
    Ok(salted)
}

fn made(wanted: &Wanted) -> Result<Kept, Error> {
    let password = match &wanted.seed {
        None => crypt::random_text(wanted.length, &wanted.characters).map_err(failed)?,
        Some(seed) => {
            let characters: Vec<char> = wanted.characters.chars().collect();
            let mut generator = random::generator(Some(seed));
            (0..wanted.length).map(|_| characters[generator.below(characters.len() as u64) as usize]).collect()
        }
    };
    Ok(Kept { password, ..Kept::default() })
}

fn salted(kept: Kept, wanted: &Wanted) -> Result<Kept, Error> {
    let Some(method) = wanted.encrypt else { return Ok(kept) };
    let salt = crypt::random_salt(method).map_err(failed)?;
    let default = (method == Method::Bcrypt).then(|| "2b".to_owned());
    Ok(Kept { salt: Some(salt), ident: wanted.ident.clone().or(default), ..kept })
}

fn refused(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| failed(format!("{}: {error}", path.display()))
}

/// Keeps the password, for its owner's eyes only. Of several who come at once, one wins: false for the others.
fn keep(path: &Path, kept: &Kept) -> Result<bool, Error> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused(path))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => writeln!(file, "{kept}").map(|()| true).map_err(refused(path)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(refused(path)(error)),
    }
}

fn replace(path: &Path, kept: &Kept) -> Result<(), Error> {
    let mut file = OpenOptions::new().write(true).truncate(true).mode(0o600).open(path).map_err(refused(path))?;
    writeln!(file, "{kept}").map_err(refused(path))
}
