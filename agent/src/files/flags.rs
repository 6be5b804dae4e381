//! File flags, as `chattr` and `lsattr` name them, and SELinux contexts: what a file carries besides owner and mode.

use rustix::fs::{IFlags, OFlags, XattrFlags, getxattr, ioctl_getflags, ioctl_setflags, open, setxattr};

use super::node::{Kind, Node};
use crate::module::{Doing, ModuleError};

/// Bit, letter and Ansible's word, in the order `lsattr` prints.
const FLAGS: &[(u32, char, &str)] = &[
    (0x0000_0001, 's', "secure_deletion"),
    (0x0000_0002, 'u', "undelete"),
    (0x0000_0008, 'S', "synchronous_updates"),
    (0x0001_0000, 'D', "synchronous_directory_updates"),
    (0x0000_0010, 'i', "immutable"),
    (0x0000_0020, 'a', "append"),
    (0x0000_0040, 'd', "nodump"),
    (0x0000_0080, 'A', "noatime"),
    (0x0000_0004, 'c', "compressed"),
    (0x0000_0800, 'E', "encrypted"),
    (0x0000_4000, 'j', "journaled"),
    (0x0000_1000, 'I', "indexed"),
    (0x0000_8000, 't', "notail"),
    (0x0002_0000, 'T', "topdir"),
    (0x0008_0000, 'e', "extents"),
    (0x0010_0000, 'V', "verity"),
    (0x0080_0000, 'C', "nocow"),
    (0x0200_0000, 'x', "dax"),
    (0x4000_0000, 'F', "casefold"),
    (0x1000_0000, 'N', "inline_data"),
    (0x2000_0000, 'P', "project"),
];

/// What `attributes` asks for: `+i`, `-a`, `=A`, or just `i`, which is `=i`.
#[derive(Clone, Debug)]
pub(crate) struct FlagChange {
    operator: char,
    bits: u32,
}

impl FlagChange {
    /// # Errors
    /// A letter that names no flag.
    pub(crate) fn parse(text: &str) -> Result<FlagChange, ModuleError> {
        let (operator, letters) = match text.chars().next() {
            Some(operator @ ('+' | '-' | '=')) => (operator, &text[1..]),
            _ => ('=', text),
        };
        let bits = letters.chars().try_fold(0, |bits, letter| {
            let flag = FLAGS.iter().find(|(_, known, _)| *known == letter);
            flag.map(|(bit, ..)| bits | bit).ok_or_else(|| {
                ModuleError::new("chattr failed")
                    .with("details", format!("attributes has `{letter}`, which chattr does not know: {text}"))
            })
        })?;
        Ok(FlagChange { operator, bits })
    }

    /// What becomes of `current`. What only the file system itself may set stays as it is.
    fn applied(&self, current: u32) -> u32 {
        let own = IFlags::all().bits();
        match self.operator {
            '+' => current | self.bits,
            '-' => current & !self.bits,
            _ => (current & !own) | (self.bits & own),
        }
    }
}

/// The file's flags; `None` where there are none to have: links, devices, file systems without.
pub(crate) fn get(node: &Node) -> Option<u32> {
    let fd = open_for_flags(node)?;
    ioctl_getflags(fd).ok().map(|flags| flags.bits())
}

/// `lsattr`'s letters and Ansible's words.
pub(crate) fn named(flags: u32) -> (String, Vec<String>) {
    let set = || FLAGS.iter().filter(|(bit, ..)| flags & bit != 0);
    (set().map(|(_, letter, _)| letter).collect(), set().map(|(.., word)| (*word).to_owned()).collect())
}

/// Changes the flags, unless `check`. Gives back the letters before and after, if they differ.
///
/// # Errors
/// The file system has no flags, or does not allow these.
pub(crate) fn change(node: &Node, change: &FlagChange, check: bool) -> Result<Option<(String, String)>, ModuleError> {
    let doing = || format!("change the attributes of {}", node.path().display());
    let fd = open_for_flags(node).ok_or("it cannot be opened for that").doing(doing)?;
    let before = ioctl_getflags(&fd).doing(doing)?.bits();
    let after = change.applied(before);
    if before == after {
        return Ok(None);
    }
    if !check {
        ioctl_setflags(&fd, IFlags::from_bits_retain(after)).doing(doing)?;
    }
    Ok(Some((named(before).0, named(after).0)))
}

fn open_for_flags(node: &Node) -> Option<rustix::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    matches!(node.kind(), Kind::File | Kind::Directory)
        .then(|| open(node.proc_path(), flags, rustix::fs::Mode::empty()).ok())
        .flatten()
}

/// The parts of an SELinux context that are asked for: user, role, type, level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context(pub(crate) [Option<String>; 4]);

const SELINUX_ATTRIBUTE: &str = "security.selinux";
/// Longest context there is room for; the kernel's own limit is a page.
const CONTEXT_BYTES_MAX: usize = 4096;

impl Context {
    fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    fn applied(&self, current: &str) -> String {
        let mut parts = current.splitn(4, ':');
        let merged = self.0.iter().map(|wanted| {
            let current = parts.next();
            wanted.as_deref().or(current)
        });
        merged.flatten().collect::<Vec<_>>().join(":")
    }
}

/// Changes the context, unless `check`. Nothing is done on a host without SELinux, as in Ansible.
///
/// # Errors
/// The policy's default is asked for, which only its own tools know; or the kernel refuses the context.
pub(crate) fn relabel(node: &Node, wanted: &Context, check: bool) -> Result<Option<(String, String)>, ModuleError> {
    if wanted.is_empty() || !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return Ok(None);
    }
    let path = node.path().display();
    if wanted.0.iter().flatten().any(|part| part == "_default") {
        return Err(ModuleError::new(format!(
            "the policy's default context of {path} is not known to the agent: run restorecon, or name the context"
        )));
    }
    let before = read_context(node).doing(|| format!("read the SELinux context of {path}"))?;
    let after = wanted.applied(&before);
    if before == after {
        return Ok(None);
    }
    if !check {
        setxattr(node.proc_path(), SELINUX_ATTRIBUTE, format!("{after}\0").as_bytes(), XattrFlags::empty())
            .doing(|| format!("set the SELinux context of {path} to {after}"))?;
    }
    Ok(Some((before, after)))
}

/// The context a file carries, if it carries one.
pub(crate) fn context(node: &Node) -> Option<String> {
    read_context(node).ok()
}

fn read_context(node: &Node) -> rustix::io::Result<String> {
    let mut context = vec![0; CONTEXT_BYTES_MAX];
    let len = getxattr(node.proc_path(), SELINUX_ATTRIBUTE, &mut context[..])?;
    Ok(String::from_utf8_lossy(&context[..len]).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_words_are_those_of_lsattr() {
        assert_eq!(named(0x0008_0010), ("ie".to_owned(), vec!["immutable".to_owned(), "extents".to_owned()]));
    }

    #[test]
    fn flags_are_added_taken_and_set() {
        let with = |text| FlagChange::parse(text).unwrap().applied(0x0008_0020);
        assert_eq!(with("+i"), 0x0008_0030);
        assert_eq!(with("-a"), 0x0008_0000);
        assert_eq!(with("=A"), 0x0008_0080, "extents are not ours to take away");
        assert_eq!(FlagChange::parse("+?").unwrap_err().to_string(), "chattr failed");
    }

    #[test]
    fn a_context_keeps_the_parts_nobody_named() {
        let wanted = Context([None, None, Some("httpd_sys_content_t".into()), None]);
        assert_eq!(
            wanted.applied("system_u:object_r:etc_t:s0:c1,c2"),
            "system_u:object_r:httpd_sys_content_t:s0:c1,c2"
        );
    }
}
