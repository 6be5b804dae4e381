//! `password`: a random password, kept in a file so that it is the same next time.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use minijinja::Error;
use minijinja::value::Value;

use super::{Call, read_file};
use crate::template::convert::failed;
use crate::template::filters::params::items;
use crate::template::filters::{paths, random};
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
}

pub(super) fn password(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    call.texts().iter().map(|term| one(&wanted(term, call)?, call).map(Value::from)).collect()
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
            .or_else(|| call.params.get(name).filter(|value| !value.is_none()).cloned())
    };
    if let Some((unknown, _)) = words[first_option..]
        .iter()
        .filter_map(|word| word.split_once('='))
        .find(|(name, _)| !["length", "encrypt", "chars", "ident", "seed"].contains(name))
    {
        return Err(failed(format!("Unrecognized parameter(s) given to password lookup: {unknown}")));
    }
    if option("encrypt").is_some_and(|method| method.is_true()) {
        return Err(failed("`encrypt` is not supported; the password is kept and given as plain text"));
    }
    let length = option("length").map_or_else(|| "20".to_owned(), |length| python::text(&length));
    let length = length.parse().ok().filter(|length| (1..=LENGTH_MAX).contains(length));
    Ok(Wanted {
        path: words[..first_option].join(" "),
        length: length.ok_or_else(|| failed(format!("length must be a number from 1 to {LENGTH_MAX}")))?,
        characters: characters(option("chars"))?,
        seed: option("seed"),
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
    if all.is_empty() { Err(failed("there are no characters to make a password of")) } else { Ok(all) }
}

fn one(wanted: &Wanted, call: &Call<'_>) -> Result<String, Error> {
    if wanted.path == "/dev/null" {
        return Ok(made(wanted));
    }
    let path = PathBuf::from(paths::expand_user(&wanted.path));
    let base = call.directories().into_iter().next().unwrap_or_default();
    let path = if path.is_absolute() { path } else { base.join(path) };
    if path.exists() {
        let kept = read_file(&path)?;
        return Ok(kept.trim_end().split(" salt=").next().unwrap_or_default().to_owned());
    }
    keep(&path, &made(wanted))
}

fn made(wanted: &Wanted) -> String {
    let characters: Vec<char> = wanted.characters.chars().collect();
    let mut generator = random::generator(wanted.seed.as_ref());
    (0..wanted.length).map(|_| characters[generator.below(characters.len() as u64) as usize]).collect()
}

/// Keeps the password, for its owner's eyes only, and gives the one that is kept: of several who come at once, one wins.
fn keep(path: &Path, password: &str) -> Result<String, Error> {
    let refused = |error: std::io::Error| failed(format!("{}: {error}", path.display()));
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            writeln!(file, "{password}").map_err(refused)?;
            Ok(password.to_owned())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(read_file(path)?.trim_end().to_owned()),
        Err(error) => Err(refused(error)),
    }
}
