//! Filters that encode, decode and hash: base64, digests, URLs, UUIDs.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error};
use rustle_agent::encoding::Encoding;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::params::{Filter, Params, add_filters, entries, items};
use crate::template::convert::failed;
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(
        env,
        &[
            Filter("b64encode", &["encoding", "urlsafe"], b64encode),
            Filter("b64decode", &["encoding", "urlsafe"], b64decode),
            Filter("hash", &["hashtype"], |value, params| digest(&params.text("hashtype", "sha1"), value)),
            Filter("checksum", &[], |value, _| digest("sha1", value)),
            Filter("sha1", &[], |value, _| digest("sha1", value)),
            Filter("md5", &[], |value, _| digest("md5", value)),
            Filter("urlencode", &[], urlencode),
            Filter("urldecode", &[], |value, _| {
                Ok(Value::from(percent_decode(&python::text(value).replace('+', " "))))
            }),
            Filter("urlsplit", &["query"], urlsplit),
            Filter("to_uuid", &["namespace"], to_uuid),
        ],
    );
}

fn bytes(value: &Value) -> Vec<u8> {
    value.as_bytes().map_or_else(|| python::text(value).into_bytes(), <[u8]>::to_vec)
}

fn b64encode(value: &Value, params: &Params) -> Result<Value, Error> {
    let encoding = Encoding::named(&params.text("encoding", "utf-8")).map_err(failed)?;
    let bytes = match value.as_bytes().filter(|_| value.kind() == ValueKind::Bytes) {
        Some(bytes) => bytes.to_vec(),
        None => encoding.encode(&python::text(value)).map_err(failed)?,
    };
    let alphabet = if params.flag("urlsafe", false) { URL_SAFE } else { STANDARD };
    Ok(Value::from(alphabet.encode(bytes)))
}

/// Padding is looked at before, and left-over bits mean nothing.
const AS_PYTHON: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);

fn b64decode(value: &Value, params: &Params) -> Result<Value, Error> {
    let encoding = Encoding::named(&params.text("encoding", "utf-8")).map_err(failed)?;
    let (letters, engine) = match params.flag("urlsafe", false) {
        true => ("-_", GeneralPurpose::new(&alphabet::URL_SAFE, AS_PYTHON)),
        false => ("+/", GeneralPurpose::new(&alphabet::STANDARD, AS_PYTHON)),
    };
    let text = python::text(value);
    // Python passes over what is no sign of the alphabet.
    let data: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || letters.contains(*c)).collect();
    let padding = text.chars().filter(|c| *c == '=').count();
    match data.len() % 4 {
        1 => {
            return Err(failed(format!(
                "Invalid base64-encoded string: number of data characters ({}) cannot be 1 more than a multiple of 4",
                data.len()
            )));
        }
        whole if whole > 0 && whole + padding < 4 => return Err(failed("Incorrect padding")),
        _ => {}
    }
    let decoded = engine.decode(data).map_err(|error| failed(format!("not base64: {error}")))?;
    if encoding == Encoding::Utf8 {
        return Ok(String::from_utf8(decoded).map_or_else(|error| Value::from_bytes(error.into_bytes()), Value::from));
    }
    encoding.decode(&decoded).map(Value::from).map_err(failed)
}

fn digest(kind: &str, value: &Value) -> Result<Value, Error> {
    let data = bytes(value);
    Ok(Value::from(match kind {
        "md5" => hex(&md5::Md5::digest(&data)),
        "sha1" => hex(&Sha1::digest(&data)),
        "sha224" => hex(&Sha224::digest(&data)),
        "sha256" => hex(&Sha256::digest(&data)),
        "sha384" => hex(&Sha384::digest(&data)),
        "sha512" => hex(&Sha512::digest(&data)),
        other => return Err(failed(format!("unsupported hash type {other}"))),
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn percent_encode(text: &str, also_safe: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) || also_safe.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn percent_decode(text: &str) -> String {
    let source = text.as_bytes();
    let mut out = Vec::with_capacity(source.len());
    let mut at = 0;
    while at < source.len() {
        let code = source.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if source[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(source[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn urlencode(value: &Value, _: &Params) -> Result<Value, Error> {
    let quote = |value: &Value| percent_encode(&python::text(value), "").replace("%20", "+");
    let pairs = match value.kind() {
        ValueKind::Map => entries(value)?,
        ValueKind::Seq => items(value)?
            .iter()
            .map(|pair| Ok((pair.get_item_by_index(0)?, pair.get_item_by_index(1)?)))
            .collect::<Result<_, Error>>()?,
        _ => return Ok(Value::from(percent_encode(&python::text(value), "/"))),
    };
    let encoded: Vec<String> = pairs.iter().map(|(key, value)| format!("{}={}", quote(key), quote(value))).collect();
    Ok(Value::from(encoded.join("&")))
}

fn urlsplit(value: &Value, params: &Params) -> Result<Value, Error> {
    let url = python::text(value);
    let (rest, fragment) = url.split_once('#').unwrap_or((&url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let scheme = rest.split_once(':').filter(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let (scheme, rest) = scheme.map_or((String::new(), rest), |(scheme, rest)| (scheme.to_lowercase(), rest));
    let (netloc, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or((rest, ""), |at| rest.split_at(at)),
        None => ("", rest),
    };
    let (userinfo, host) = netloc.rsplit_once('@').map_or((None, netloc), |(user, host)| (Some(user), host));
    let (username, password) =
        match userinfo.map(|user| user.split_once(':').map_or((user, None), |(u, p)| (u, Some(p)))) {
            Some((user, password)) => (Some(user), password),
            None => (None, None),
        };
    let (hostname, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let port = port
        .filter(|port| !port.is_empty())
        .map(|port| {
            port.parse::<u16>().map_err(|_| {
                let shown = python::repr(&Value::from(port));
                failed(format!("Port could not be cast to integer value as {shown}"))
            })
        })
        .transpose()?;
    let hostname = Some(hostname.to_lowercase()).filter(|name| !name.is_empty());
    let parts = [
        ("fragment", Value::from(fragment)),
        ("hostname", hostname.map_or(Value::from(()), Value::from)),
        ("netloc", Value::from(netloc)),
        ("password", password.map_or(Value::from(()), Value::from)),
        ("path", Value::from(path)),
        ("port", port.map_or(Value::from(()), Value::from)),
        ("query", Value::from(query)),
        ("scheme", Value::from(scheme)),
        ("username", username.map_or(Value::from(()), Value::from)),
    ];
    match params.get("query").map(python::text).filter(|name| !name.is_empty()) {
        None => Ok(Value::from_pairs(parts)),
        Some(name) => parts
            .into_iter()
            .find(|(part, _)| *part == name)
            .map(|(_, value)| value)
            .ok_or_else(|| failed(format!("urlsplit: unknown URL component: {name}"))),
    }
}

/// Ansible's namespace for version 5 UUIDs.
const NAMESPACE: &str = "361E6D51-FAEC-444A-9079-341386DA8E2E";

fn to_uuid(value: &Value, params: &Params) -> Result<Value, Error> {
    let namespace = params.text("namespace", NAMESPACE);
    let namespace = uuid::Uuid::parse_str(&namespace)
        .map_err(|error| failed(format!("Invalid value '{namespace}' for 'namespace': {error}")))?;
    let digest = Sha1::new().chain_update(namespace.as_bytes()).chain_update(python::text(value)).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Ok(Value::from(uuid::Builder::from_sha1_bytes(bytes).into_uuid().to_string()))
}
