//! A directory of the controller, as `copy` sends it: what is in it, and the content of its files as blobs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::sender::Sender;

/// Files in one copied tree.
const TREE_ENTRIES_MAX: usize = 100_000;

/// Every file, folder and link below `root`, parents first. Without `contents_only` the folder itself is copied too. With
/// `follow`, a link is what it leads to, unless that is nothing, or a folder the link is in.
///
/// # Errors
/// What cannot be read, or is too much.
pub(super) fn tree(root: &Path, contents_only: bool, follow: bool, sender: &Sender) -> Result<Value, String> {
    let prefix = root.file_name().filter(|_| !contents_only).map(PathBuf::from);
    let mut walk = Walk { sender, follow, above: Vec::new(), entries: Vec::new() };
    match prefix {
        Some(prefix) => walk.directory(root, &prefix)?,
        None => walk.children(root, Path::new(""))?,
    }
    Ok(Value::List(walk.entries))
}

struct Walk<'a> {
    sender: &'a Sender,
    follow: bool,
    /// The folders that the walk is in, without links.
    above: Vec<PathBuf>,
    entries: Vec<Value>,
}

impl Walk<'_> {
    fn children(&mut self, dir: &Path, to: &Path) -> Result<(), String> {
        self.above.push(dir.canonicalize().map_err(|error| unreadable(dir, &error))?);
        let entries = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = entries.map_err(|error| unreadable(dir, &error))?;
        // A directory's own files come before its subdirectories, as in Ansible.
        entries.sort_by_key(|entry| (entry.file_type().is_ok_and(|kind| kind.is_dir()), entry.file_name()));
        entries.iter().try_for_each(|entry| self.entry(&entry.path(), &to.join(entry.file_name())))?;
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, path: &Path, to: &Path) -> Result<(), String> {
        if self.entries.len() >= TREE_ENTRIES_MAX {
            let path = path.display();
            return Err(format!("{path} is beyond the first {TREE_ENTRIES_MAX} files: copy an archive with unarchive"));
        }
        let own = std::fs::symlink_metadata(path).map_err(|error| unreadable(path, &error))?;
        let behind = if own.is_symlink() { self.followed(path) } else { Some(own) };
        match behind {
            None => self.link(path, to),
            Some(meta) if meta.is_dir() => self.directory(path, to),
            Some(meta) if meta.is_file() => {
                let blob = self.sender.add(path)?.to_value();
                self.push(to, meta.permissions().mode(), "blob", blob);
                Ok(())
            }
            Some(_) => Err(format!("{} is neither a file nor a folder nor a link", path.display())),
        }
    }

    /// What the link leads to, if it is to be copied in the link's place.
    fn followed(&self, link: &Path) -> Option<std::fs::Metadata> {
        let target = link.canonicalize().ok().filter(|target| self.follow && !self.above.contains(target))?;
        std::fs::metadata(target).ok()
    }

    fn directory(&mut self, path: &Path, to: &Path) -> Result<(), String> {
        let meta = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        self.push(to, meta.permissions().mode(), "dir", true.into());
        self.children(path, to)
    }

    fn link(&mut self, path: &Path, to: &Path) -> Result<(), String> {
        let target = std::fs::read_link(path).map_err(|error| unreadable(path, &error))?;
        self.push(to, 0o777, "link", target.to_string_lossy().into_owned().into());
        Ok(())
    }

    fn push(&mut self, to: &Path, mode: u32, what: &str, value: Value) {
        let entry = [
            ("path".to_owned(), to.to_string_lossy().into_owned().into()),
            ("mode".to_owned(), (mode & 0o7777).into()),
            (what.to_owned(), value),
        ];
        self.entries.push(Value::Map(Map::from_iter(entry)));
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Paths, each with what it is.
    fn listed(root: &Path, contents_only: bool, follow: bool) -> Vec<String> {
        let Value::List(entries) = tree(root, contents_only, follow, &Sender::plain()).unwrap() else { panic!() };
        let shown = |entry: &Value| {
            let entry = entry.as_map().unwrap();
            let kind = entry.keys().last().unwrap();
            let target = entry.get("link").and_then(Value::as_str).unwrap_or_default();
            format!("{} {kind} {target}", entry["path"].as_str().unwrap()).trim_end().to_owned()
        };
        entries.iter().map(shown).collect()
    }

    #[test]
    fn links_are_followed_or_kept_and_never_lead_in_a_circle() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(root.join("sub/file"), "x").unwrap();
        std::fs::write(outside.join("other"), "y").unwrap();
        symlink("sub/file", root.join("a")).unwrap();
        symlink("../root", root.join("circle")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink(&outside, root.join("out")).unwrap();
        symlink(&root, outside.join("back")).unwrap();
        let (outside, root_text) = (outside.display(), root.display());
        assert_eq!(
            listed(&root, true, true),
            [
                "a blob".to_owned(),
                "circle link ../root".to_owned(),
                "dangling link nowhere".to_owned(),
                "out dir".to_owned(),
                format!("out/back link {root_text}"),
                "out/other blob".to_owned(),
                "sub dir".to_owned(),
                "sub/file blob".to_owned(),
            ]
        );
        assert_eq!(
            listed(&root, false, false),
            [
                "root dir".to_owned(),
                "root/a link sub/file".to_owned(),
                "root/circle link ../root".to_owned(),
                "root/dangling link nowhere".to_owned(),
                format!("root/out link {outside}"),
                "root/sub dir".to_owned(),
                "root/sub/file blob".to_owned(),
            ]
        );
    }
}
