//! `stat`: what is known about a path.
//!
//! The MIME type of a file with something in it is the one thing that may need a program; all else is a look and a checksum.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustle_protocol::{Map, ModuleResult, Value};

use crate::accounts::Users;
use crate::arguments;
use crate::files::checksum::Algorithm;
use crate::files::flags;
use crate::files::mime::Mime;
use crate::files::node::{Kind, Node, field, stat_fields};
use crate::module::{Module, ModuleContext, ModuleError};

arguments! {
    pub(crate) struct StatArgs {
        /// The path.
        path | "dest" | "name": PathBuf,
        /// If it is a link, tell about what it leads to.
        follow: bool = false,
        /// Return the checksum of a file.
        get_checksum: bool = true,
        /// How the checksum is made.
        checksum_algorithm | "checksum" | "checksum_algo": Algorithm = Algorithm::Sha1,
        /// Return MIME type and character set, as the program `file` guesses them, of the path itself and not of what a link
        /// leads to.
        get_mime | "mime" | "mime_type" | "mime-type": bool = true,
        /// Return the flags that `lsattr` shows.
        get_attributes | "attr" | "attributes": bool = true,
        /// Return the SELinux context.
        get_selinux_context: bool = false,
    }
}

pub(super) struct Stat;

impl Module for Stat {
    type Args = StatArgs;

    const NAME: &'static str = "ansible.builtin.stat";
    const SUMMARY: &'static str = "Tells what is known about a path.";
    const IDEMPOTENT: bool = true;

    fn run(&self, args: StatArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let Some(node) = Node::open(&args.path, args.follow)? else {
            if std::fs::symlink_metadata(&args.path).is_err_and(|error| error.kind() == ErrorKind::NotADirectory) {
                return Err(ModuleError::new("Not a directory"));
            }
            return Ok(ModuleResult::ok().with("stat", Map::from([("exists".to_owned(), Value::Bool(false))])));
        };
        let stat = node.stat();
        let mut out = Map::from([
            ("exists".to_owned(), Value::Bool(true)),
            ("path".to_owned(), args.path.display().to_string().into()),
        ]);
        out.extend(stat_fields(stat, &Users::new(cx.cancel)));
        let mut set = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
        set("blocks", field::<_, u64>(stat.st_blocks).into());
        set("block_size", field::<_, u64>(stat.st_blksize).into());
        set("device_type", stat.st_rdev.into());
        let may = |access| accessat(CWD, &args.path, access, AtFlags::empty()).is_ok();
        set("readable", may(Access::READ_OK).into());
        set("writeable", may(Access::WRITE_OK).into());
        set("executable", may(Access::EXEC_OK).into());
        if node.kind() == Kind::Link {
            let target = node.link_target()?;
            set("lnk_target", target.display().to_string().into());
            set("lnk_source", source_of(&args.path, &target).display().to_string().into());
        }
        // Who may not read the file gets all else, as from Ansible.
        if args.get_checksum
            && node.kind() == Kind::File
            && let Ok(file) = node.read()
            && let Ok(checksum) = args.checksum_algorithm.of(file)
        {
            set("checksum", checksum.into());
        }
        if args.get_attributes {
            let (letters, words) = flags::get(&node).map(flags::named).unwrap_or_default();
            set("attr_flags", letters.into());
            set("attributes", words.into());
        }
        if args.get_mime {
            let mime = Mime::of(&args.path, cx.environment, cx.cancel);
            set("mimetype", mime.kind.into());
            set("charset", mime.charset.into());
        }
        if args.get_selinux_context {
            let context = flags::context(&node);
            set("selinux_context", context.map_or(Value::Null, |text| text.splitn(4, ':').map(Value::from).collect()));
        }
        Ok(ModuleResult::ok().with("stat", out))
    }
}

/// Where a link leads in the end, also if nothing is there.
fn source_of(path: &Path, target: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| {
        let target = path.parent().unwrap_or(Path::new("/")).join(target);
        std::path::absolute(&target).unwrap_or(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::{check, run};
    use serde_json::json;

    fn stat_of(args: serde_json::Value) -> Map {
        let result = run(&Stat, args);
        assert!(!result.failed && !result.changed, "{result:?}");
        result.get("stat").unwrap().as_map().unwrap().clone()
    }

    #[test]
    fn nothing_there_is_an_answer() {
        assert_eq!(stat_of(json!({"path": "/no/such/file"})), Map::from([("exists".to_owned(), Value::Bool(false))]));
    }

    #[test]
    fn a_file_has_its_checksum_in_the_algorithm_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let stat = stat_of(json!({"path": &path}));
        assert_eq!(stat["checksum"].as_str(), Some("a9993e364706816aba3e25717850c26c9cd0d89d"));
        let yes = ["exists", "isreg", "readable", "writeable", "rusr", "wusr"];
        let no = ["isdir", "islnk", "isfifo", "isuid", "isgid", "executable", "xusr", "woth"];
        assert!(yes.iter().all(|name| stat[*name] == Value::Bool(true)), "{stat:?}");
        assert!(no.iter().all(|name| stat[*name] == Value::Bool(false)), "{stat:?}");
        assert_eq!((stat["size"].as_i64(), stat["nlink"].as_i64()), (Some(3), Some(1)));
        assert!(matches!(stat["mtime"], Value::Float(seconds) if seconds > 1e9));
        let stat = stat_of(json!({"path": &path, "checksum_algorithm": "md5"}));
        assert_eq!(stat["checksum"].as_str(), Some("900150983cd24fb0d6963f7d28e17f72"));
        assert!(!stat_of(json!({"path": &path, "get_checksum": false})).contains_key("checksum"));
    }

    #[test]
    fn a_link_tells_where_it_leads_and_is_followed_if_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let stat = stat_of(json!({"path": &link}));
        assert_eq!((stat["islnk"].as_bool(), stat["lnk_target"].as_str()), (Some(true), Some("file")));
        let real = std::fs::canonicalize(&file).unwrap();
        assert_eq!(stat["lnk_source"].as_str(), real.to_str());
        assert_eq!(stat_of(json!({"path": &link, "follow": true}))["isreg"].as_bool(), Some(true));
    }

    #[test]
    fn what_is_no_file_has_a_mime_type_without_any_program() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("empty"), "").unwrap();
        std::os::unix::fs::symlink("empty", path("link")).unwrap();
        std::os::unix::fs::symlink("none", path("broken")).unwrap();
        let mime = |path: PathBuf| {
            let stat = stat_of(json!({"path": path, "follow": true}));
            let text = |name: &str| stat.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            (text("mimetype"), text("charset"))
        };
        let binary = |kind: &str| (format!("inode/{kind}"), "binary".to_owned());
        assert_eq!(mime(path("empty")), binary("x-empty"));
        assert_eq!(mime(path("link")), binary("symlink"));
        assert_eq!(mime(path(".")), binary("directory"));
        assert_eq!(mime("/dev/null".into()), binary("chardevice"));
        let stat = stat_of(json!({"path": path("broken")}));
        assert_eq!((stat["mimetype"].as_str(), stat["charset"].as_str()), (Some("unknown"), Some("unknown")));
        assert_eq!(stat["lnk_source"].as_str(), path("none").to_str());
        assert!(!stat_of(json!({"path": path("empty"), "get_mime": false})).contains_key("mimetype"));
    }

    #[test]
    fn what_is_below_a_file_cannot_be_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(run(&Stat, json!({"path": file.path().join("x")})).msg(), "Not a directory");
    }

    #[test]
    fn check_mode_answers_as_well() {
        let result = check(&Stat, json!({"path": "/"}));
        assert_eq!(result.get("stat").unwrap().as_map().unwrap()["isdir"].as_bool(), Some(true));
    }
}
