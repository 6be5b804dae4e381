//! Where the archive comes from: the controller, a file of the host, or a server.

use std::fs::File;
use std::io::{ErrorKind, Seek};
use std::time::Duration;

use rustle_protocol::value::Map;

use super::UnarchiveArgs;
use crate::http::{self, Follow, HttpArgs, Request};
use crate::module::args::parse;
use crate::module::{Doing, ModuleContext, ModuleError};

/// For each wait for the server, as in Ansible.
const WAIT: Duration = Duration::from_secs(10);

pub(super) fn open(args: &UnarchiveArgs, cx: &ModuleContext<'_>) -> Result<File, ModuleError> {
    if let Some(blob) = &args._blob {
        return cx.blobs.open(blob.id);
    }
    let src = args.src.as_deref().filter(|_| args.remote_src || !args.copy).ok_or_else(|| {
        ModuleError::new("src is a file of the controller, and the controller did not send it: set remote_src")
    })?;
    if let Some(url) = src.to_str().filter(|src| src.contains("://")) {
        return downloaded(url, args.validate_certs, cx);
    }
    File::open(src).map_err(|error| match error.kind() {
        ErrorKind::NotFound => ModuleError::new(format!("Source '{}' does not exist", src.display())),
        _ => ModuleError::new(format!("failed to read {}: {error}", src.display())),
    })
}

/// The archive in a file without a name. It is fetched in check mode, too: what is in it decides what would change.
fn downloaded(url: &str, validate_certs: bool, cx: &ModuleContext<'_>) -> Result<File, ModuleError> {
    let shown = http::presentable(url);
    let failed = |why: &dyn std::fmt::Display| ModuleError::new(format!("Failure downloading {shown}, {why}"));
    let settings = Map::from_iter([("validate_certs".to_owned(), validate_certs.into())]);
    let settings: HttpArgs = parse("unarchive", settings).map_err(|error| failed(&error))?;
    let request = Request {
        method: "GET",
        url,
        headers: Vec::new(),
        body: Vec::new(),
        follow: Follow::Urllib2,
        socket: None,
        timeout: WAIT,
    };
    let reply = http::send(&settings, &request, cx).map_err(|error| failed(&error))?;
    if reply.status != 200 {
        return Err(failed(&reply.msg()));
    }
    let mut file = tempfile::tempfile().doing(|| format!("make a file for {shown}"))?;
    reply.copy_to(&mut file, u64::MAX, cx)?;
    file.rewind().doing(|| format!("read what {shown} gave"))?;
    Ok(file)
}
