//! `get_url`: a file from a server.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustle_protocol::{ModuleResult, Value};

use crate::accounts::Users;
use crate::arguments;
use crate::files::attributes::FileAttributes;
use crate::files::checksum::Algorithm;
use crate::files::node::{self, Node};
use crate::files::place::{Placement, Source, place};
use crate::http::{self, Follow, HttpArgs, Reply, Request};
use crate::module::args::FromArg;
use crate::module::{Doing, Module, ModuleContext, ModuleError, shown};

/// Of a list of checksums.
const CHECKSUMS_BYTES_MAX: u64 = 16 * 1024 * 1024;

arguments! {
    pub(crate) struct GetUrlArgs {
        /// Where the file is.
        url: String,
        /// Where it goes: a file, or a directory that there is.
        dest: PathBuf,
        /// `ALGORITHM:CHECKSUM`, or `ALGORITHM:URL` of a list of checksums.
        checksum: Option<String>,
        /// Keep the old file under another name.
        backup: bool = false,
        /// Seconds for each wait.
        timeout: u64 = 10,
        /// The directory to keep the file in while it is received; that of `dest` by default.
        tmp_dest: Option<PathBuf>;
        flatten http: HttpArgs, attributes: FileAttributes,
    }
}

pub(super) struct GetUrl;

impl Module for GetUrl {
    type Args = GetUrlArgs;

    const NAME: &'static str = "ansible.builtin.get_url";
    const SUMMARY: &'static str = "Downloads a file to the host.";
    const SUPPORTS_DIFF: bool = true;
    const IDEMPOTENT: bool = true;

    fn run(&self, args: GetUrlArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let started = Instant::now();
        let outcome = GetUrlRun { args: &args, cx }.run();
        let mut result = outcome.unwrap_or_else(ModuleError::into_result);
        let dest = match result.get("dest") {
            Some(dest) => PathBuf::from(shown(dest)),
            None => args.dest.clone(),
        };
        result.set("url", http::presentable(&args.url));
        result.set("dest", dest.display().to_string());
        result.set("elapsed", started.elapsed().as_secs());
        node::describe(&mut result, &dest, &Users::new(cx.cancel))?;
        args.http.hide_password(&mut result);
        Ok(result)
    }
}

struct GetUrlRun<'a> {
    args: &'a GetUrlArgs,
    cx: &'a ModuleContext<'a>,
}

/// What the file's checksum is to be.
struct Expected {
    algorithm: Algorithm,
    sum: String,
}

impl GetUrlRun<'_> {
    fn run(&self) -> Result<ModuleResult, ModuleError> {
        let expected = self.args.checksum.as_deref().filter(|text| !text.is_empty()).map(|text| self.expected(text));
        let expected = expected.transpose()?;
        let into_folder = self.args.dest.is_dir();
        let mut since = None;
        if !into_folder && self.args.dest.exists() {
            let is_right = expected.as_ref().map(|expected| expected.is_of(&self.args.dest)).transpose()?;
            if is_right == Some(true) && !self.args.http.force {
                let mut kept = self.kept(ModuleResult::ok().with("msg", "file already exists"))?;
                if kept.changed {
                    kept.set("msg", "file already exists but file attributes changed");
                }
                return Ok(not_compared(kept));
            }
            // A file that is there and has no checksum to compare: only a newer one is fetched.
            since = http::since(&self.args.dest).filter(|_| is_right.is_none() && !self.args.http.force);
        }
        if let Some(path) = self.args.url.strip_prefix("file://") {
            return self.copied(Path::new(path), expected.as_ref());
        }
        let reply = self.request(&self.args.url, since)?;
        let msg = reply.msg();
        match reply.status {
            304 => self.kept(ModuleResult::ok().with("msg", msg).with("status_code", 304_u32)),
            200 => self.received(reply, msg, expected.as_ref()),
            _ => Err(unexpected(&reply)),
        }
    }

    /// A file of the host itself, which `url` names.
    fn copied(&self, path: &Path, expected: Option<&Expected>) -> Result<ModuleResult, ModuleError> {
        let node = Node::open(path, true)?.filter(|node| node.kind() == node::Kind::File);
        let node = node.ok_or_else(|| {
            let what = format!("[Errno 2] No such file or directory: '{}'", path.display());
            ModuleError::new(format!("Request failed: <urlopen error {what}>"))
        })?;
        let msg = format!("OK ({} bytes)", node.size());
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Ok(self.placed(node, &self.file(name), expected, msg)?.with("status_code", Value::Null))
    }

    fn received(&self, reply: Reply, msg: String, expected: Option<&Expected>) -> Result<ModuleResult, ModuleError> {
        let dest = self.file(&reply.file_name(&reply.url));
        let beside = self.folder();
        if !beside.is_dir() {
            let beside = beside.components().as_path().display();
            return Err(ModuleError::new(format!("Destination {beside} does not exist")));
        }
        if self.cx.check {
            let mut result = compared(&dest, None).with("msg", msg);
            result.changed = true;
            return Ok(result);
        }
        let folder = self.args.tmp_dest.as_deref().unwrap_or(beside);
        if !folder.is_dir() {
            let what =
                if folder.exists() { "is a file but should be a directory." } else { "directory does not exist." };
            return Err(ModuleError::new(format!("{} {what}", folder.display())));
        }
        let mut received = tempfile::Builder::new()
            .prefix(".rustle-")
            .tempfile_in(folder)
            .doing(|| format!("make a file in {}", folder.display()))?;
        let status = u32::from(reply.status);
        reply.copy_to(received.as_file_mut(), u64::MAX, self.cx)?;
        let node = Node::open(received.path(), false)?.ok_or_else(|| ModuleError::new("what was received is gone"))?;
        Ok(self.placed(node, &dest, expected, msg)?.with("status_code", status))
    }

    /// Where a file goes that is called `name` where it comes from.
    fn file(&self, name: &str) -> PathBuf {
        match self.args.dest.is_dir() {
            true => self.args.dest.join(if name.is_empty() { "index.html" } else { name }),
            false => self.args.dest.clone(),
        }
    }

    /// The directory of the file: of `dest`, what is behind its last slash is the file's name.
    fn folder(&self) -> &Path {
        let dest = self.args.dest.as_path();
        let ends_with_slash = dest.as_os_str().as_encoded_bytes().ends_with(b"/");
        if dest.is_dir() || ends_with_slash { dest } else { dest.parent().unwrap_or(Path::new("/")) }
    }

    fn request(&self, url: &str, since: Option<(String, String)>) -> Result<Reply, ModuleError> {
        let request = Request {
            method: if self.cx.check { "HEAD" } else { "GET" },
            url,
            headers: since.into_iter().collect(),
            body: Vec::new(),
            follow: Follow::All,
            socket: None,
            timeout: Duration::from_secs(self.args.timeout),
        };
        http::send(&self.args.http, &request, self.cx)
    }

    /// The file stays; its attributes may not.
    fn kept(&self, mut result: ModuleResult) -> Result<ModuleResult, ModuleError> {
        let users = Users::new(self.cx.cancel);
        let wanted = self.args.attributes.resolve(&users)?;
        if let Some(mut node) = Node::open(&self.args.dest, true)? {
            result.changed = !wanted.apply(&mut node, self.cx.check)?.is_empty();
        }
        Ok(result)
    }

    fn placed(
        &self,
        received: Node,
        dest: &Path,
        expected: Option<&Expected>,
        msg: String,
    ) -> Result<ModuleResult, ModuleError> {
        let sum_by = |algorithm: Algorithm| -> Result<String, ModuleError> {
            algorithm.of(received.read()?).doing(|| "read what was received".to_owned())
        };
        let mut result = compared(dest, Some(sum_by(Algorithm::Sha1)?));
        if let Some(expected) = expected {
            let sum = sum_by(expected.algorithm)?;
            if sum != expected.sum {
                let msg = format!("The checksum for {} did not match {}; it was {sum}.", dest.display(), expected.sum);
                return Err(result.with("msg", msg).into());
            }
        }
        let users = Users::new(self.cx.cancel);
        let how = Placement {
            wanted: self.args.attributes.resolve(&users)?,
            fresh_mode: None,
            backup: self.args.backup,
            force: true,
            validate: None,
            unsafe_writes: self.args.attributes.unsafe_writes,
        };
        let placed = place(&Source::File(received), dest, &how, self.cx)?;
        let md5 = placed.md5.clone().or_else(|| Algorithm::Md5.of_file(dest).ok());
        result.changed = placed.changed();
        result.set("msg", msg);
        result.set("md5sum", md5.map_or(Value::Null, Value::from));
        if let Some(backup) = placed.backup {
            result.set("backup_file", backup.display().to_string());
        }
        Ok(result.with_diff(placed.diff))
    }

    fn expected(&self, text: &str) -> Result<Expected, ModuleError> {
        let invalid = |why: &str| ModuleError::from(not_compared(ModuleResult::failed(why)));
        let wrong = || invalid("The checksum parameter has to be in format <algorithm>:<checksum>");
        let (algorithm, sum) = text.split_once(':').ok_or_else(wrong)?;
        let algorithm = Algorithm::from_arg(algorithm.trim().to_lowercase().into()).map_err(|why| {
            ModuleError::new(format!(
                "Unsupported hash algorithm `{algorithm}` ({why}); there are {}",
                Algorithm::CHOICES.join(", ")
            ))
        })?;
        let sum = sum.trim();
        if !["http://", "https://", "file://"].iter().any(|scheme| sum.starts_with(scheme)) {
            return match is_hex(sum) {
                true => Ok(Expected { algorithm, sum: sum.to_lowercase() }),
                false => Err(invalid("The checksum format is invalid")),
            };
        }
        let list = self.text_of(sum)?;
        let file = http::file_name(&self.args.url);
        let found = found_in(&list, &file)
            .ok_or_else(|| ModuleError::new(format!("Unable to find a checksum for file '{file}' in '{sum}'")))?;
        match is_hex(&found) {
            true => Ok(Expected { algorithm, sum: found }),
            false => Err(invalid("The checksum format is invalid")),
        }
    }

    fn text_of(&self, url: &str) -> Result<String, ModuleError> {
        if let Some(path) = url.strip_prefix("file://") {
            return std::fs::read_to_string(path).doing(|| format!("read {path}"));
        }
        // Read in check mode, too: what it says decides what would change.
        let asking = GetUrlRun { args: self.args, cx: &ModuleContext { check: false, ..*self.cx } };
        let reply = asking.request(url, None)?;
        if !(200..300).contains(&reply.status) {
            return Err(unexpected(&reply));
        }
        let mut text = Vec::new();
        reply.copy_to(&mut text, CHECKSUMS_BYTES_MAX, self.cx)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn is_hex(sum: &str) -> bool {
    !sum.is_empty() && sum.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// No checksum was made of either file.
fn not_compared(result: ModuleResult) -> ModuleResult {
    result.with("checksum_src", Value::Null).with("checksum_dest", Value::Null)
}

/// An answer that is none to build on.
fn unexpected(reply: &Reply) -> ModuleError {
    ModuleError::new("Request failed").with("status_code", u32::from(reply.status)).with("response", reply.msg())
}

/// A file that is to be at `dest`, and what is there; `src` is none if it was not fetched.
fn compared(dest: &Path, src: Option<String>) -> ModuleResult {
    let sum = |sum: Option<String>| sum.map_or(Value::Null, Value::from);
    ModuleResult::ok()
        .with("dest", dest.display().to_string())
        .with("checksum_src", sum(src))
        .with("checksum_dest", sum(Algorithm::Sha1.of_file(dest).ok()))
}

impl Expected {
    fn is_of(&self, path: &Path) -> Result<bool, ModuleError> {
        let sum = self.algorithm.of_file(path).doing(|| format!("read {}", path.display()))?;
        Ok(sum == self.sum)
    }
}

/// The checksum of `file` in a list: `SUM  NAME` lines, `ALGORITHM (NAME) = SUM` lines, or a checksum alone.
fn found_in(list: &str, file: &str) -> Option<String> {
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    let is_it = |name: &str| name.trim_start_matches(['*', '.', '/']) == file;
    let found = lines.iter().find_map(|words| match words.as_slice() {
        [sum, name] if is_it(name) => Some(*sum),
        [_, name, "=", sum] if is_it(name.trim_matches(['(', ')'])) => Some(*sum),
        _ => None,
    });
    let alone = match lines.as_slice() {
        [words] if words.len() == 1 => Some(words[0]),
        _ => None,
    };
    found.or(alone).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::{answer, serve};
    use crate::module::testing::{check, run};
    use serde_json::json;

    const SHA1: &str = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";

    fn server() -> String {
        serve(|head, _| {
            let path = head.split(' ').nth(1).unwrap();
            match path {
                "/moved" => answer("302 Found", "Location: /hello\r\n", ""),
                "/sums" => answer("200 OK", "", &format!("0000  other\n{}  ./hello\n", SHA1.to_uppercase())),
                "/named" => answer("200 OK", "Content-Disposition: attachment; filename=\"../../given\"\r\n", "hello"),
                "/hello" if head.to_lowercase().contains("if-modified-since: ") => answer("304 Not Modified", "", ""),
                "/hello" if head.starts_with("HEAD") => {
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n".into()
                }
                "/hello" => answer("200 OK", "", "hello"),
                "/empty" => "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".into(),
                _ => answer("404 Not Found", "", "nothing"),
            }
        })
    }

    #[test]
    fn a_file_is_fetched_once_and_then_only_if_it_is_newer() {
        let (dir, server) = (tempfile::tempdir().unwrap(), server());
        let dest = dir.path().join("file");
        let args = json!({"url": format!("{server}/moved"), "dest": dest, "mode": "0600"});
        let result = run(&GetUrl, args);
        assert!(result.changed && !result.failed, "{result:?}");
        assert_eq!(std::fs::read_to_string(&dest).unwrap(), "hello");
        assert_eq!(result.get("checksum_src").unwrap().as_str(), Some(SHA1));
        assert_eq!((result.msg(), result.get("mode").unwrap().as_str()), ("OK (5 bytes)", Some("0600")));
        let again = run(&GetUrl, json!({"url": format!("{server}/hello"), "dest": dest}));
        assert!(!again.changed && again.msg() == "HTTP Error 304: Not Modified", "{again:?}");
        let forced = run(&GetUrl, json!({"url": format!("{server}/hello"), "dest": dest, "force": true}));
        assert!(!forced.changed && forced.get("status_code").unwrap().as_i64() == Some(200), "{forced:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn a_checksum_decides_what_is_fetched_and_what_is_kept() {
        let (dir, server) = (tempfile::tempdir().unwrap(), server());
        let dest = dir.path().join("file");
        let with = |sum: String| run(&GetUrl, json!({"url": format!("{server}/hello"), "dest": dest, "checksum": sum}));
        let wrong = with(format!("sha1:{}", "0".repeat(40)));
        assert!(wrong.msg().contains("did not match") && !dest.exists(), "{wrong:?}");
        assert_eq!(wrong.get("checksum_src").unwrap().as_str(), Some(SHA1));
        assert!(wrong.get("url").is_some() && wrong.get("elapsed").is_some(), "{wrong:?}");
        assert!(with(format!("sha1:{server}/sums")).changed);
        assert_eq!(with(format!("sha1:{SHA1}")).msg(), "file already exists");
        assert!(with("sha1".into()).msg().contains("has to be in format"));
        assert!(with(format!("sha1:{server}/named")).failed, "a list without the file");
    }

    #[test]
    fn in_a_folder_a_file_has_the_servers_name_and_stays_in_it() {
        let (dir, server) = (tempfile::tempdir().unwrap(), server());
        let folder = dir.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        for (url, name) in [("named", "given"), ("hello?x=/y", "hello"), ("moved", "hello")] {
            let result = run(&GetUrl, json!({"url": format!("{server}/{url}"), "dest": folder, "force": true}));
            assert!(result.changed || result.failed && url != "named", "{result:?}");
            if !result.failed {
                assert_eq!(result.get("dest").unwrap().as_str(), folder.join(name).to_str());
            }
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn check_mode_asks_and_writes_nothing() {
        let (dir, server) = (tempfile::tempdir().unwrap(), server());
        let dest = dir.path().join("file");
        let result = check(&GetUrl, json!({"url": format!("{server}/hello"), "dest": dest}));
        assert!(result.changed && !dest.exists(), "{result:?}");
        assert_eq!(result.get("checksum_dest"), Some(&Value::Null));
        std::fs::write(&dest, "hello").unwrap();
        let result = check(&GetUrl, json!({"url": format!("{server}/hello"), "dest": dest, "force": true}));
        assert_eq!(result.get("checksum_dest").unwrap().as_str(), Some(SHA1));
        assert_eq!(result.get("size").unwrap().as_i64(), Some(5));
        assert!(check(&GetUrl, json!({"url": format!("{server}/none"), "dest": dest})).failed);
    }

    #[test]
    fn an_answer_without_content_is_no_file() {
        let (dir, server) = (tempfile::tempdir().unwrap(), server());
        let dest = dir.path().join("file");
        let result = run(&GetUrl, json!({"url": format!("{server}/empty"), "dest": dest}));
        assert_eq!((result.failed, result.msg()), (true, "Request failed"));
        assert!(!dest.exists());
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let (dir, server) = (tempfile::tempdir().unwrap(), server());
        let said = |args| run(&GetUrl, args).msg().to_owned();
        let (url, none) = (format!("{server}/hello"), dir.path().join("none"));
        let of_none = format!("Destination {} does not exist", none.display());
        assert_eq!(said(json!({"url": url, "dest": none.join("file")})), of_none);
        assert_eq!(
            said(json!({"url": url, "dest": dir.path().join("file"), "tmp_dest": none})),
            format!("{} directory does not exist.", none.display())
        );
    }

    #[test]
    fn a_server_that_has_no_such_file_or_is_not_there_is_a_failure() {
        let (dir, server) = (tempfile::tempdir().unwrap(), server());
        let result = run(&GetUrl, json!({"url": format!("{server}/none"), "dest": dir.path().join("x")}));
        assert_eq!((result.msg(), result.get("status_code").unwrap().as_i64()), ("Request failed", Some(404)));
        assert_eq!(result.get("response").unwrap().as_str(), Some("HTTP Error 404: Not Found"));
        let result = run(&GetUrl, json!({"url": "http://127.0.0.1:9/x", "dest": dir.path().join("x")}));
        assert!(result.msg().starts_with("Request failed: <urlopen error"), "{}", result.msg());
    }
}
