//! `uri`: asks a server something, and takes its answer.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::accounts::Users;
use crate::encoding::Encoding;
use crate::files::attributes::FileAttributes;
use crate::files::json;
use crate::files::node::{self, Node};
use crate::files::place::{Placement, Source, place};
use crate::http::{self, Follow, HttpArgs, Reply, Request, resolved};
use crate::module::{ArgError, BlobRef, Doing, FromArg, Module, ModuleContext, ModuleError, shown};
use crate::{arguments, choices};

/// Of an answer that is returned. What is longer goes into a file, by `dest`.
const CONTENT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What content is sent as if the task says nothing about it, as Python's library does.
const FORM: &str = "application/x-www-form-urlencoded";

arguments! {
    pub(crate) struct UriArgs {
        /// Whom to ask.
        url: String,
        /// How to ask: `GET`, `POST`, ...
        method: String = "GET".into(),
        /// What to send.
        body: Option<Value>,
        /// How it is written.
        body_format: BodyFormat = BodyFormat::Raw,
        /// A file to send.
        src: Option<PathBuf>,
        /// The file lies on the host.
        remote_src: bool = false,
        /// Return the answer's content.
        return_content: bool = false,
        /// Which redirects to follow.
        follow_redirects: Follow = Follow::Safe,
        /// Status codes that are no failure.
        status_code: Vec<i64> = vec![200],
        /// Where to put the answer.
        dest: Option<PathBuf>,
        /// Do not ask if this file is there.
        creates: Option<PathBuf>,
        /// Do not ask if this file is not there.
        removes: Option<PathBuf>,
        /// Seconds for each wait.
        timeout: u64 = 30,
        /// A socket of the host to ask, and not the network.
        unix_socket: Option<PathBuf>,
        /// The file that the controller sent for `src`.
        _blob: Option<BlobRef>,
        /// Its name.
        _original_basename: Option<String>;
        flatten http: HttpArgs, attributes: FileAttributes,
    }
}

choices! {
    pub(crate) enum BodyFormat {
        FormUrlencoded = "form-urlencoded", Json = "json", Raw = "raw", FormMultipart = "form-multipart",
    }
}

pub(super) struct Uri;

impl Module for Uri {
    type Args = UriArgs;

    const NAME: &'static str = "ansible.builtin.uri";
    const SUMMARY: &'static str = "Sends a request to a web server and returns the answer.";
    const SUPPORTS_CHECK: bool = false;
    const IDEMPOTENT: bool = false;

    const EXCLUSIVE: &'static [&'static [&'static str]] = &[&["body", "src"]];

    fn check_args(args: &UriArgs) -> Result<(), ArgError> {
        let rule = |why: &str| Err(ArgError::Rule(why.into()));
        if args.method.is_empty() || !args.method.chars().all(|c| c.is_ascii_alphabetic()) {
            return rule("Parameter 'method' needs to be a single word in uppercase, like GET or POST.");
        }
        Ok(())
    }

    fn run(&self, args: UriArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        for (path, skipped_if, word) in [(&args.creates, true, "exists"), (&args.removes, false, "does not exist")] {
            if let Some(path) = path.as_ref().filter(|path| path.exists() == skipped_if) {
                let said = format!("skipped, since '{}' {word}", path.display());
                return Ok(ModuleResult::ok().with("stdout", said));
            }
        }
        let started = Instant::now();
        let (body, content_type) = body(&args, cx)?;
        let content_type = content_type.or_else(|| (!body.is_empty()).then(|| FORM.to_owned()));
        let since = args.dest.as_deref().filter(|_| !args.http.force).and_then(http::since);
        let request = Request {
            method: &args.method,
            url: &args.url,
            headers: content_type.map(|kind| ("content-type".to_owned(), kind)).into_iter().chain(since).collect(),
            body,
            follow: args.follow_redirects,
            socket: args.unix_socket.as_deref(),
            timeout: Duration::from_secs(args.timeout),
        };
        let mut result = match http::send(&args.http, &request, cx) {
            Ok(reply) => answered(reply, &args, started, cx)?,
            Err(error) => unanswered(&error.to_string(), &args, started),
        };
        args.http.hide_password(&mut result);
        Ok(result)
    }
}

fn unanswered(why: &str, args: &UriArgs, started: Instant) -> ModuleResult {
    let mut result = ModuleResult::ok();
    tell(NO_ANSWER, why, args, &mut result);
    result.set("status", NO_ANSWER);
    result.set("url", http::presentable(&args.url));
    result.set("redirected", false);
    result.set("elapsed", started.elapsed().as_secs());
    if args.return_content {
        result.set("content", "");
    }
    result
}

/// The status of a server that did not answer.
const NO_ANSWER: i64 = -1;

/// What came of it; a status that is none of those that shall be is a failure.
fn tell(status: i64, msg: &str, args: &UriArgs, result: &mut ModuleResult) {
    if args.status_code.contains(&status) {
        result.set("msg", msg);
    } else {
        result.failed = true;
        result.set("msg", format!("Status code was {status} and not {}: {msg}", codes(args)));
    }
}

fn codes(args: &UriArgs) -> String {
    let codes: Vec<String> = args.status_code.iter().map(i64::to_string).collect();
    format!("[{}]", codes.join(", "))
}

fn answered(
    reply: Reply,
    args: &UriArgs,
    started: Instant,
    cx: &ModuleContext<'_>,
) -> Result<ModuleResult, ModuleError> {
    let (status, url) = (reply.status, reply.url.clone());
    let is_wanted = args.status_code.contains(&status.into());
    let mut result = ModuleResult::ok();
    for (name, value) in reply.headers() {
        let value = if name == "location" { resolved(&url, &value) } else { value };
        result.set(&name.replace('-', "_"), value);
    }
    // An error has none, as in Ansible.
    if (200..300).contains(&status) {
        set_cookies(&reply, &mut result);
    }
    result.set("status", u32::from(status));
    result.set("redirected", reply.redirected);
    let msg = reply.msg();
    let content_type = reply.header("content-type").unwrap_or_default();
    match args.dest.as_ref().filter(|_| is_wanted) {
        Some(dest) => keep(reply, dest, &content_type, args, &mut result, cx)?,
        None => {
            let mut content = Vec::new();
            reply.copy_to(&mut content, CONTENT_BYTES_MAX, cx)?;
            if status >= 300 && is_wanted && !args.return_content {
                result.set("body", text_in(&content, &content_type));
            }
            take(content, &content_type, args, &mut result);
        }
    }
    if status == 304
        && let Some(dest) = args.dest.as_ref().filter(|dest| dest.is_file())
    {
        result.set("path", dest.display().to_string());
        node::describe(&mut result, dest, &Users::new(cx.cancel))?;
    }
    result.set("url", url);
    result.set("elapsed", started.elapsed().as_secs());
    tell(status.into(), &msg, args, &mut result);
    Ok(result)
}

fn set_cookies(reply: &Reply, result: &mut ModuleResult) {
    let cookies: Map = reply.cookies().into_iter().map(|(name, value)| (name, Value::from(value))).collect();
    let text: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
    result.set("cookies", cookies);
    result.set("cookies_string", text.join("; "));
}

/// The content as text, in the encoding that its type names, else in UTF-8.
fn text_in(content: &[u8], content_type: &str) -> String {
    let named = content_type.split(';').skip(1).filter_map(|part| part.split_once('='));
    let mut named = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let encoding = named.find_map(|(_, charset)| Encoding::named(charset.trim().trim_matches('"')).ok());
    let decoded = encoding.and_then(|encoding| encoding.decode(content).ok());
    decoded.unwrap_or_else(|| String::from_utf8_lossy(content).into_owned())
}

/// Returns the content, if it is asked for, and as data, if it is JSON.
fn take(content: Vec<u8>, content_type: &str, args: &UriArgs, result: &mut ModuleResult) {
    let text = text_in(&content, content_type);
    if is_data(content_type)
        && let Ok(value) = serde_json::from_str::<Value>(&text)
    {
        result.set("json", value);
    }
    if args.return_content {
        result.set("content", text);
    }
}

/// Whether content of this type is data that a playbook reads.
fn is_data(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().to_lowercase();
    kind.split_once('/').is_some_and(|(_, sub)| sub.contains("json") || sub.contains("javascript"))
}

/// Puts the answer into the file `dest`, or into a file in the directory `dest`.
fn keep(
    reply: Reply,
    dest: &Path,
    content_type: &str,
    args: &UriArgs,
    result: &mut ModuleResult,
    cx: &ModuleContext<'_>,
) -> Result<(), ModuleError> {
    let dest = if dest.is_dir() { dest.join(reply.file_name(&reply.url)) } else { dest.to_owned() };
    let folder = dest.parent().unwrap_or(Path::new("/"));
    let mut received = tempfile::Builder::new()
        .prefix(".rustle-")
        .tempfile_in(folder)
        .doing(|| format!("make a file in {}: Could not replace {}", folder.display(), dest.display()))?;
    reply.copy_to(received.as_file_mut(), u64::MAX, cx)?;
    if args.return_content || is_data(content_type) {
        let mut content = Vec::new();
        let file = std::fs::File::open(received.path()).doing(|| format!("read {}", dest.display()))?;
        file.take(CONTENT_BYTES_MAX).read_to_end(&mut content).doing(|| format!("read {}", dest.display()))?;
        take(content, content_type, args, result);
    }
    let node = Node::open(received.path(), false)?.ok_or_else(|| ModuleError::new("what was received is gone"))?;
    let users = Users::new(cx.cancel);
    let how = Placement {
        wanted: args.attributes.resolve(&users)?,
        fresh_mode: None,
        backup: false,
        force: true,
        validate: None,
        unsafe_writes: args.attributes.unsafe_writes,
    };
    let placed = place(&Source::File(node), &dest, &how, cx)?;
    result.changed = placed.changed();
    result.set("path", dest.display().to_string());
    node::describe(result, &dest, &users)
}

/// What is sent, and what kind of content it is.
fn body(args: &UriArgs, cx: &ModuleContext<'_>) -> Result<(Vec<u8>, Option<String>), ModuleError> {
    if let Some(blob) = &args._blob {
        return Ok((content_of(blob, cx)?, json_type(args)));
    }
    if let Some(src) = &args.src {
        if !args.remote_src {
            return Err(ModuleError::new(
                "src is a file of the controller, and the controller did not send it: set remote_src",
            ));
        }
        let unreadable = |_| ModuleError::new(format!("Unable to open source file {}", src.display()));
        let content = std::fs::read(src).map_err(|cause| unreadable(cause).with("elapsed", 0))?;
        return Ok((content, json_type(args)));
    }
    let Some(body) = &args.body else { return Ok((Vec::new(), None)) };
    Ok(match args.body_format {
        BodyFormat::Raw => (text_of(body).into_bytes(), None),
        BodyFormat::Json => {
            let text = match body {
                Value::String(text) => text.clone(),
                other => json::dumps(other),
            };
            (text.into_bytes(), Some("application/json".to_owned()))
        }
        BodyFormat::FormUrlencoded => (form(body)?.into_bytes(), Some(FORM.to_owned())),
        BodyFormat::FormMultipart => multipart(body, cx)?,
    })
}

/// The type of a file that is sent, as far as the task says it.
fn json_type(args: &UriArgs) -> Option<String> {
    matches!(args.body_format, BodyFormat::Json).then(|| "application/json".to_owned())
}

fn content_of(blob: &BlobRef, cx: &ModuleContext<'_>) -> Result<Vec<u8>, ModuleError> {
    let mut content = Vec::new();
    cx.blobs.open(blob.id)?.read_to_end(&mut content).doing(|| "read the controller's file".to_owned())?;
    Ok(content)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::List(_) | Value::Map(_) => json::dumps(value),
        other => http::worded(other),
    }
}

/// `name=value&...` of a map, whose values may be lists, or of a list of pairs.
fn form(body: &Value) -> Result<String, ModuleError> {
    let mut pairs: Vec<(String, &Value)> = Vec::new();
    match body {
        Value::String(text) => return Ok(text.clone()),
        Value::Map(map) => {
            for (name, value) in map {
                match value {
                    Value::Null => {}
                    Value::List(values) => pairs.extend(values.iter().map(|value| (name.clone(), value))),
                    value => pairs.push((name.clone(), value)),
                }
            }
        }
        Value::List(items) => {
            for item in items {
                match item {
                    Value::List(pair) if pair.len() == 2 => pairs.push((shown(&pair[0]), &pair[1])),
                    other => return Err(no_pair(other)),
                }
            }
        }
        other => {
            return Err(ModuleError::new(format!("failed to parse body as form_urlencoded: it is a {}", other.kind())));
        }
    }
    let one = |(name, value): (String, &Value)| format!("{}={}", encoded(&name), encoded(&text_of(value)));
    Ok(pairs.into_iter().map(one).collect::<Vec<_>>().join("&"))
}

fn no_pair(value: &Value) -> ModuleError {
    let len = match value {
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        other => shown(other).chars().count(),
    };
    let how = if len > 2 { "too many" } else { "not enough" };
    ModuleError::new(format!(
        "failed to parse body as form_urlencoded: {how} values to unpack: {value} is no pair of a name and a value"
    ))
}

fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Parts of a form: text, or `{content, filename, mime_type, multipart_encoding}`.
fn multipart(body: &Value, cx: &ModuleContext<'_>) -> Result<(Vec<u8>, Option<String>), ModuleError> {
    let Value::Map(parts) = body else {
        return Err(ModuleError::new(format!("failed to parse body as form-multipart: it is a {}", body.kind())));
    };
    let boundary = format!("==============={}==", uuid::Uuid::now_v7().simple());
    let mut out = Vec::new();
    for (name, value) in parts {
        let part = Part::new(name, value, cx)?;
        out.extend_from_slice(format!("--{boundary}\r\n{}\r\n", part.head).as_bytes());
        out.extend_from_slice(&part.content);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((out, Some(format!("multipart/form-data; boundary=\"{boundary}\""))))
}

struct Part {
    /// Lines, each with its end.
    head: String,
    content: Vec<u8>,
}

impl Part {
    fn new(name: &str, value: &Value, cx: &ModuleContext<'_>) -> Result<Part, ModuleError> {
        match value {
            Value::String(text) => {
                Ok(Part { head: head(name, None, "text/plain", ""), content: text.clone().into_bytes() })
            }
            Value::Map(part) => Part::of_map(name, part, cx),
            other => Err(ModuleError::new(format!(
                "failed to parse body as form-multipart: value must be a string, or mapping, cannot be type {}",
                other.kind()
            ))),
        }
    }

    fn of_map(name: &str, part: &Map, cx: &ModuleContext<'_>) -> Result<Part, ModuleError> {
        let field = |name: &str| part.get(name).filter(|value| !value.is_null());
        let filename = field("filename").map(shown);
        let kind = field("mime_type").map_or_else(|| "application/octet-stream".to_owned(), shown);
        if let Some(content) = field("content") {
            return Ok(Part {
                head: head(name, filename.as_deref(), &kind, ""),
                content: text_of(content).into_bytes(),
            });
        }
        let Some(path) = filename.as_deref() else {
            return Err(ModuleError::new(
                "failed to parse body as form-multipart: at least one of filename or content must be provided",
            ));
        };
        let content = file_of_part(part, path, cx)?;
        let (encoding, content) = match field("multipart_encoding").map(shown).as_deref() {
            None | Some("base64") => ("base64", in_lines(&STANDARD.encode(content))),
            Some("7or8bit") => (if content.is_ascii() { "7bit" } else { "8bit" }, with_network_line_ends(&content)),
            Some(other) => {
                return Err(ModuleError::new(format!(
                    "multipart_encoding must be one of base64, 7or8bit, not {other}"
                )));
            }
        };
        Ok(Part { head: head(name, filename.as_deref(), &kind, encoding), content })
    }
}

/// What the controller sent for the part, else the host's file.
fn file_of_part(part: &Map, path: &str, cx: &ModuleContext<'_>) -> Result<Vec<u8>, ModuleError> {
    let Some(blob) = part.get("_blob") else { return std::fs::read(path).doing(|| format!("read {path}")) };
    let blob = BlobRef::from_arg(blob.clone()).map_err(|why| ModuleError::new(format!("the file {path} {why}")))?;
    content_of(&blob, cx)
}

fn head(name: &str, filename: Option<&str>, kind: &str, encoding: &str) -> String {
    let file = filename.and_then(|path| Path::new(path).file_name()?.to_str());
    let file = file.map(|file| format!("; filename=\"{}\"", in_quotes(file))).unwrap_or_default();
    let kind = without_line_ends(kind);
    let mut head = format!("Content-Disposition: form-data; name=\"{}\"{file}\r\n", in_quotes(name));
    head += &format!("Content-Type: {kind}\r\n");
    if !encoding.is_empty() {
        head += &format!("Content-Transfer-Encoding: {encoding}\r\n");
    }
    head
}

/// As the standard for forms wants names in quotes: no quote and no line end can end them early.
fn in_quotes(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn without_line_ends(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// Lines of 76 characters, as mail has them.
fn in_lines(text: &str) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.as_bytes().chunks(76).collect();
    lines.join(&b"\r\n"[..])
}

fn with_network_line_ends(content: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = content.split(|&byte| byte == b'\n').collect();
    let lines: Vec<&[u8]> = lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    lines.join(&b"\r\n"[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::{answer, serve};
    use crate::module::testing::{check, run};
    use serde_json::json;

    /// Tells what it was asked, as JSON.
    fn mirror() -> String {
        serve(|head, body| {
            let path = head.split(' ').nth(1).unwrap();
            let line = |name: &str| {
                let line = head.lines().find(|line| line.to_lowercase().starts_with(name));
                line.map(|line| line.split_once(": ").unwrap().1.to_owned())
            };
            let asked = json!({"method": head.split(' ').next(), "type": line("content-type:"), "auth": line("authorization:"),
                "x": line("x-mine:"), "accept": line("accept:"), "body": String::from_utf8_lossy(body)});
            let kind = "Content-Type: application/json\r\nX-Other-Header: yes\r\nSet-Cookie: a=b; Path=/\r\n";
            match path {
                "/moved" => answer("302 Found", "Location: /there\r\n", ""),
                "/none" => answer("404 Not Found", "Content-Type: text/plain\r\n", "nothing"),
                _ => answer("200 OK", kind, &asked.to_string()),
            }
        })
    }

    fn asked(result: &ModuleResult, name: &str) -> String {
        assert!(!result.failed, "{result:?}");
        result.get("json").unwrap().as_map().unwrap()[name].as_str().unwrap_or("-").to_owned()
    }

    #[test]
    fn an_answer_is_returned_as_data_and_its_headers_by_name() {
        let result = run(&Uri, json!({"url": mirror(), "return_content": true, "headers": {"X-Mine": 5}}));
        assert_eq!((asked(&result, "method"), asked(&result, "x")), ("GET".into(), "5".into()));
        assert_eq!(result.get("x_other_header").unwrap().as_str(), Some("yes"));
        assert_eq!(result.get("cookies").unwrap().to_json(), r#"{"a":"b"}"#);
        assert!(result.get("content").unwrap().as_str().unwrap().starts_with('{'));
        assert!(
            result.msg().starts_with("OK (") && result.get("status").unwrap().as_i64() == Some(200) && !result.changed
        );
    }

    #[test]
    fn bodies_are_written_as_asked() {
        let url = mirror();
        for (format, body, kind, sent) in [
            ("json", json!({"a": [1]}), "application/json", r#"{"a": [1]}"#),
            (
                "form-urlencoded",
                json!({"a b": ["1", "&"], "c": 2}),
                "application/x-www-form-urlencoded",
                "a+b=1&a+b=%26&c=2",
            ),
            ("raw", json!("as it is"), FORM, "as it is"),
        ] {
            let result = run(&Uri, json!({"url": url, "method": "POST", "body": body, "body_format": format}));
            assert_eq!((asked(&result, "type"), asked(&result, "body")), (kind.into(), sent.into()));
        }
        let body = json!({"text": "t", "file": {"content": "c", "filename": "f.txt", "mime_type": "text/x"}});
        let result = run(&Uri, json!({"url": url, "method": "POST", "body": body, "body_format": "form-multipart"}));
        let sent = asked(&result, "body");
        assert!(sent.contains("name=\"file\"; filename=\"f.txt\"\r\nContent-Type: text/x\r\n\r\nc\r\n"), "{sent}");
    }

    #[test]
    fn credentials_are_sent_and_redirects_followed_if_that_is_safe() {
        let url = mirror();
        let result =
            run(&Uri, json!({"url": format!("{url}/moved"), "user": "bob", "password": "x", "force_basic_auth": true}));
        assert_eq!(asked(&result, "auth"), "Basic Ym9iOng=");
        assert_eq!(result.get("redirected"), Some(&Value::Bool(true)));
        assert_eq!(result.get("url").unwrap().as_str(), Some(format!("{url}/there").as_str()));
        for args in [json!({"method": "POST"}), json!({"follow_redirects": "none"})] {
            let mut args = args;
            args["url"] = json!(format!("{url}/moved"));
            args["status_code"] = json!([302]);
            let result = run(&Uri, args);
            assert!(!result.failed, "{result:?}");
            assert_eq!(result.get("location").unwrap().as_str(), Some(format!("{url}/there").as_str()));
        }
    }

    #[test]
    fn another_status_than_was_wanted_is_a_failure() {
        let url = mirror();
        let result = run(&Uri, json!({"url": format!("{url}/none"), "return_content": true}));
        assert_eq!(result.msg(), "Status code was 404 and not [200]: HTTP Error 404: Not Found");
        assert_eq!(result.get("content").unwrap().as_str(), Some("nothing"));
        let wanted = run(&Uri, json!({"url": format!("{url}/none"), "status_code": "404,410"}));
        assert_eq!((wanted.failed, wanted.get("body").unwrap().as_str()), (false, Some("nothing")));
        let result = run(&Uri, json!({"url": "http://127.0.0.1:9/"}));
        assert!(
            result.msg().starts_with("Status code was -1 and not [200]: Request failed: <urlopen error"),
            "{}",
            result.msg()
        );
    }

    #[test]
    fn an_answer_can_be_kept_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let url = serve(|_, _| answer("200 OK", "", "content"));
        let args = json!({"url": format!("{url}/name?x"), "dest": dir.path(), "mode": "0640"});
        let result = run(&Uri, args.clone());
        assert!(result.changed, "{result:?}");
        assert_eq!(std::fs::read_to_string(dir.path().join("name")).unwrap(), "content");
        assert!(!run(&Uri, args).changed);
        assert!(run(&Uri, json!({"url": url, "creates": dir.path()})).get("stdout").is_some());
    }

    #[test]
    fn what_is_sent_is_a_form_unless_the_task_says_otherwise() {
        let server = mirror();
        let said = |args| asked(&run(&Uri, args), "type");
        assert_eq!(said(json!({"url": server, "method": "POST", "body": "x"})), FORM);
        assert_eq!(
            said(json!({"url": server, "method": "POST", "body": "x", "headers": {"Content-Type": "a/b"}})),
            "a/b"
        );
        assert_eq!(said(json!({"url": server})), "-");
        let header = json!({"url": server, "headers": {"X-Mine": true}});
        assert_eq!(asked(&run(&Uri, header), "x"), "True");
    }

    #[test]
    fn nothing_is_said_that_the_task_does_not_say() {
        let server = mirror();
        assert_eq!(asked(&run(&Uri, json!({"url": server})), "accept"), "-");
        let welcome = json!({"url": server, "headers": {"Accept": "a/b"}});
        assert_eq!(asked(&run(&Uri, welcome), "accept"), "a/b");
        let moved = json!({"url": format!("{server}/moved"), "method": "POST", "body": "x", "follow_redirects": "all"});
        let moved = run(&Uri, moved);
        assert_eq!(
            (asked(&moved, "method"), asked(&moved, "type"), asked(&moved, "body")),
            ("GET".into(), "-".into(), "".into())
        );
    }

    #[test]
    fn a_server_that_does_not_answer_may_be_what_is_wanted() {
        let result = run(&Uri, json!({"url": "http://127.0.0.1:9/", "status_code": [-1, 200]}));
        assert!(!result.failed && result.msg().starts_with("Request failed: <urlopen error"), "{result:?}");
        assert_eq!(result.get("status"), Some(&Value::Int(-1)));
    }

    #[test]
    fn a_boolean_says_whether_redirects_are_followed() {
        let url = format!("{}/moved", mirror());
        let stays = run(&Uri, json!({"url": url, "follow_redirects": false, "status_code": 302}));
        assert_eq!(stays.get("redirected"), Some(&false.into()), "{stays:?}");
        let goes = run(&Uri, json!({"url": url, "follow_redirects": true}));
        assert_eq!(goes.get("redirected"), Some(&true.into()), "{goes:?}");
    }

    #[test]
    fn arguments_that_contradict_each_other_are_refused() {
        let refused = |args| run(&Uri, args).msg().to_owned();
        let both = json!({"url": "http://h", "body": "x", "src": "f"});
        assert_eq!(refused(both), "parameters are mutually exclusive: body|src");
        let method = json!({"url": "http://h", "method": "GET IT"});
        assert_eq!(refused(method), "Parameter 'method' needs to be a single word in uppercase, like GET or POST.");
    }

    #[test]
    fn check_mode_asks_nobody() {
        assert!(check(&Uri, json!({"url": "http://127.0.0.1:9/"})).skipped);
    }
}
