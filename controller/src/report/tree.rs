//! `adhoc --tree DIR`: each host's result as JSON, in a file of the host's name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Reporter, values};
use crate::event::{RunEvent, Stamped};

/// A folder with a file for each host: its last result. What is a host's name is a file's name, too.
pub(super) struct Tree {
    folder: PathBuf,
    verbosity: u8,
}

impl Tree {
    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// As making folders.
    pub(super) fn create(folder: &Path, verbosity: u8) -> io::Result<Tree> {
        fs::create_dir_all(folder)?;
        Ok(Tree { folder: folder.to_owned(), verbosity })
    }
}

impl Reporter for Tree {
    fn report(&mut self, event: &Stamped) -> io::Result<()> {
        let RunEvent::HostFinished(result) = &event.event else { return Ok(()) };
        let text = values::of_file(&result.module, &result.values, self.verbosity);
        fs::write(self.folder.join(result.host.as_str()), text)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{Script, map};
    use super::*;
    use crate::event::TaskStatus;

    #[test]
    fn each_host_has_a_file_with_its_result() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::create(&dir.path().join("a/b"), 0).unwrap();
        let mut script = Script::new(["web1"]);
        let task = script.task("adhoc", "ping");
        let values = map(&[("ping", "pong".into()), ("changed", false.into())]);
        script.finish_with(task, "web1", TaskStatus::Ok, |result| result.values = values);
        for event in &script.events {
            tree.report(event).unwrap();
        }
        let text = fs::read_to_string(dir.path().join("a/b/web1")).unwrap();
        assert_eq!(text, "{\"changed\": false, \"ping\": \"pong\"}");
    }
}
