//! `fetch`: brings a file of the host here.
//!
//! What a host says decides nothing about where on this machine is written: the path is the plan's, and is resolved
//! beneath the plan's destination, so that neither a name with `..` in it nor a link leads out.

mod scratch;

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use futures::FutureExt;
use futures::future::BoxFuture;
use md5::Md5;
use rustix::fs::{CWD, renameat};
use rustle_agent::module::{ArgError, ArgSpec, ModuleArgs, args};
use rustle_agent::{Beneath, arguments};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};
use sha1::{Digest, Sha1};
use tempfile::NamedTempFile;

use crate::engine::{ExecutionContext, ModuleExecutor, Stop};
use crate::event::FailedIn;

/// How often a file is asked for anew that comes as the answer to an earlier controller, without content: once for each such
/// controller.
const TOLD_AGAIN_MAX: u32 = 64;

arguments! {
    pub(super) struct FetchArgs {
        /// The file on the host.
        src: String,
        /// The folder here, under which the file goes to `HOST/PATH`; with `flat`, the file or, with a `/` at its end, its folder.
        dest: String,
        /// `dest` is the file itself.
        flat: bool = false,
        /// Fail if there is no such file.
        fail_on_missing: bool = true,
        /// Compare the checksums after the transfer.
        validate_checksum: bool = true,
    }
}

pub(super) struct Fetch;

impl ModuleExecutor for Fetch {
    fn name(&self) -> &str {
        "ansible.builtin.fetch"
    }

    fn summary(&self) -> &str {
        "Brings a file of the host to the controller."
    }

    fn supports_check_mode(&self) -> bool {
        false
    }

    fn skipped_in_check_mode(&self, _name: &str) -> ModuleResult {
        ModuleResult::skipped("check mode not (yet) supported for this module")
    }

    fn supports_diff(&self) -> bool {
        false
    }

    fn is_idempotent(&self) -> bool {
        true
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        FetchArgs::GROUPS
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        super::src_and_dest(args)?;
        args::parse::<FetchArgs>("fetch", args.clone()).map(drop)
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            let prepared = args::parse::<FetchArgs>("fetch", args)
                .map_err(|error| error.to_string())
                .and_then(|args| Destination::of(&args, cx).map(|to| (args, to)));
            match prepared {
                Ok((args, to)) => fetch(&args, &to, cx).await,
                Err(message) => {
                    cx.failed_in = Some(FailedIn::Task);
                    Ok(ModuleResult::failed(message))
                }
            }
        }
        .boxed()
    }
}

async fn fetch(args: &FetchArgs, to: &Destination, cx: &mut ExecutionContext<'_>) -> Result<ModuleResult, Stop> {
    let mut call = Map::from([("src".to_owned(), args.src.as_str().into())]);
    let have = Checksums::of_file(&to.path());
    if let Some(have) = &have {
        call.insert("_have".into(), have.sha1.as_str().into());
    }
    let mut again = if cx.may_be_told_again() { TOLD_AGAIN_MAX } else { 0 };
    let (receiving, mut answer) = loop {
        let mut receiving = match Receiving::begin(to) {
            Ok(receiving) => receiving,
            Err(message) => return Ok(ModuleResult::failed(message)),
        };
        let take = &mut |bytes: Vec<u8>| receiving.take(&bytes);
        let answer = cx.receive("rustle.builtin.fetch", call.clone(), take).await?;
        // What an earlier controller has asked for is told again as it ended, and its content is gone.
        let is_whole = answer.get("checksum").and_then(Value::as_str) == Some(&receiving.sums().sha1);
        if again == 0 || answer.get("sent").is_none() || is_whole {
            break (receiving, answer);
        }
        again -= 1;
    };
    if answer.failed {
        if answer.get("missing").and_then(Value::as_str) == Some("content") {
            // The host has answered well; what it said is no file's content.
            cx.failed_in = Some(FailedIn::Action);
        }
        return Ok(not_fetched(answer, args));
    }
    let remote = answer.values_mut().shift_remove("checksum").unwrap_or_default();
    let done = |changed, sums: &Checksums| {
        ModuleResult::changed(changed)
            .with("dest", to.path().display().to_string())
            .with("md5sum", sums.md5.as_str())
            .with("checksum", sums.sha1.as_str())
    };
    if let Some(have) = have.filter(|_| answer.get("sent").is_none()) {
        return Ok(done(false, &have).with("file", args.src.as_str()));
    }
    let sums = receiving.sums();
    if args.validate_checksum && remote.as_str() != Some(&sums.sha1) {
        let mut failed = done(false, &sums).with("msg", "checksum mismatch").with("file", args.src.as_str());
        failed.failed = true;
        return Ok(failed.with("remote_checksum", remote).with("remote_md5sum", Value::Null));
    }
    Ok(match receiving.keep(to) {
        Ok(()) => done(true, &sums).with("remote_checksum", remote).with("remote_md5sum", Value::Null),
        Err(message) => ModuleResult::failed(message),
    })
}

/// The host's own failure; a missing file is none if the task says so.
fn not_fetched(mut answer: ModuleResult, args: &FetchArgs) -> ModuleResult {
    match answer.values_mut().shift_remove("missing").as_ref().and_then(Value::as_str) {
        // Said of a failure, too, as in Ansible.
        Some("file") => {
            answer.failed = args.fail_on_missing;
            answer.set("msg", format!("{}, not transferring, ignored", answer.msg()));
            if !answer.failed {
                answer.set("file", args.src.as_str());
            }
        }
        Some(_) if !args.fail_on_missing => {
            answer.failed = false;
            answer.set("msg", format!("{}, not transferring, ignored", answer.msg()));
        }
        _ => {}
    }
    answer
}

/// Where a file goes: below a folder that the plan names, and never outside of it.
#[derive(Debug, PartialEq, Eq)]
struct Destination {
    folder: PathBuf,
    below: PathBuf,
}

impl Destination {
    fn of(args: &FetchArgs, cx: &ExecutionContext<'_>) -> Result<Destination, String> {
        let host = cx.scope.get("inventory_hostname").ok();
        let host = host.as_ref().and_then(|name| name.as_str()).unwrap_or(cx.target.as_str());
        Destination::resolve(args, host, cx.files.base())
    }

    fn resolve(args: &FetchArgs, host: &str, base: &Path) -> Result<Destination, String> {
        let dest = base.join(expanded(&args.dest));
        if !args.flat {
            return Ok(Destination {
                folder: dest,
                below: below(&Path::new(host).join(args.src.trim_start_matches('/')))?,
            });
        }
        if args.dest.ends_with('/') {
            let name = Path::new(&args.src).file_name().ok_or("src names no file")?;
            return Ok(Destination { folder: dest, below: name.into() });
        }
        if dest.is_dir() {
            let use_slash = "use a trailing slash if you want to fetch src into that directory";
            return Err(format!("dest is an existing directory, {use_slash}"));
        }
        let name = dest.file_name().ok_or("dest names no file")?.into();
        Ok(Destination { folder: dest.parent().unwrap_or(Path::new("/")).to_owned(), below: name })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(&self.below)
    }
}

/// `~/x` of the operator's.
fn expanded(dest: &str) -> PathBuf {
    match (dest.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => dest.into(),
    }
}

/// The path without `.`, `//` and `..`, none of which may lead above its beginning.
fn below(path: &Path) -> Result<PathBuf, String> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir if out.components().count() > 1 => drop(out.pop()),
            Component::CurDir => {}
            _ => {
                let shown = path.display();
                return Err(format!("Detected directory traversal: {shown} leads out of the destination"));
            }
        }
    }
    Ok(out)
}

/// A file on its way.
struct Receiving {
    file: NamedTempFile,
    sha1: Sha1,
    md5: Md5,
    failed: Option<std::io::Error>,
}

impl Receiving {
    fn begin(to: &Destination) -> Result<Receiving, String> {
        let unwritable = |error| format!("cannot write to {}: {error}", to.folder.display());
        std::fs::create_dir_all(&to.folder).map_err(unwritable)?;
        let file = scratch::create(&to.folder, &to.below).map_err(unwritable)?;
        Ok(Receiving { file, sha1: Sha1::new(), md5: Md5::new(), failed: None })
    }

    fn take(&mut self, bytes: &[u8]) {
        self.sha1.update(bytes);
        self.md5.update(bytes);
        if self.failed.is_none() {
            self.failed = self.file.write_all(bytes).err();
        }
    }

    fn sums(&self) -> Checksums {
        Checksums { sha1: hex(&self.sha1.clone().finalize()), md5: hex(&self.md5.clone().finalize()) }
    }

    fn keep(self, to: &Destination) -> Result<(), String> {
        if let Some(error) = self.failed {
            return Err(format!("cannot write {}: {error}", to.path().display()));
        }
        // Open and so locked until it is in its place: nobody takes it for one that was left.
        let (_locked, path) = self.file.into_parts();
        let placed = Beneath::open(&to.folder).and_then(|folder| {
            folder.replace(&to.below, |dir, temp| {
                renameat(CWD, &*path, dir, temp).map_err(|error| {
                    rustle_agent::module::ModuleError::new(format!("cannot write {}: {error}", to.path().display()))
                })
            })
        });
        placed.map_err(|error| error.to_string())?;
        // It has moved, and its name may be somebody else's by now.
        let _ = path.keep();
        Ok(())
    }
}

struct Checksums {
    sha1: String,
    md5: String,
}

impl Checksums {
    /// `None` if there is no such file, or none that can be read.
    fn of_file(path: &Path) -> Option<Checksums> {
        let mut file = std::fs::File::open(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let (mut sha1, mut md5) = (Sha1::new(), Md5::new());
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match std::io::Read::read(&mut file, &mut buffer).ok()? {
                0 => return Some(Checksums { sha1: hex(&sha1.finalize()), md5: hex(&md5.finalize()) }),
                len => {
                    sha1.update(&buffer[..len]);
                    md5.update(&buffer[..len]);
                }
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(src: &str, dest: &str, flat: bool) -> Result<PathBuf, String> {
        let args =
            FetchArgs { src: src.into(), dest: dest.into(), flat, fail_on_missing: true, validate_checksum: true };
        Destination::resolve(&args, "web1", Path::new("/play")).map(|to| to.path())
    }

    #[test]
    fn a_file_goes_below_its_hosts_name_or_to_the_very_place() {
        assert_eq!(resolve("/etc/hosts", "got", false).unwrap(), Path::new("/play/got/web1/etc/hosts"));
        assert_eq!(resolve("/etc/hosts", "/got/", true).unwrap(), Path::new("/got/hosts"));
        assert_eq!(resolve("/etc/hosts", "got/mine", true).unwrap(), Path::new("/play/got/mine"));
        let error = resolve("/etc/hosts", "/tmp", true).unwrap_err();
        assert!(error.starts_with("dest is an existing directory"), "{error}");
    }

    #[test]
    fn no_name_leads_out_of_the_destination() {
        assert_eq!(resolve("/etc/../etc/./hosts", "/got", false).unwrap(), Path::new("/got/web1/etc/hosts"));
        for src in ["/../../../etc/passwd", "../../x", "/etc/../../.."] {
            assert!(resolve(src, "/got", false).unwrap_err().contains("directory traversal"), "{src}");
        }
    }

    #[test]
    fn a_link_in_the_way_leads_nowhere_outside() {
        let dir = tempfile::tempdir().unwrap();
        let (got, outside) = (dir.path().join("got"), dir.path().join("outside"));
        std::fs::create_dir_all(&got).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, got.join("web1")).unwrap();
        let to = Destination { folder: got.clone(), below: "web1/etc/hosts".into() };
        let mut receiving = Receiving::begin(&to).unwrap();
        receiving.take(b"x");
        assert!(receiving.keep(&to).is_err());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        let to = Destination { folder: got.clone(), below: "web2/etc/hosts".into() };
        let mut receiving = Receiving::begin(&to).unwrap();
        receiving.take(b"x");
        assert_eq!(receiving.sums().md5, "9dd4e461268c8034f5c8564e155c67a6");
        receiving.keep(&to).unwrap();
        assert_eq!(std::fs::read(to.path()).unwrap(), b"x");
        let left = std::fs::read_dir(&got).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(left.len(), 2, "nothing is left beside the two folders: {left:?}");
    }
}
