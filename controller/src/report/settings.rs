//! What people have set of how a run is told in words, as Ansible's own callbacks have it.

use super::adhoc::Answers;

/// How results are told. The default is Ansible's: all of them, in its default layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSettings {
    /// Answers alone instead of the default layout (`stdout_callback` is `minimal` or `oneline`).
    pub answers: Option<Answers>,
    /// Results that changed nothing are told (`display_ok_hosts`).
    pub ok_hosts: bool,
    /// Results that were skipped are told (`display_skipped_hosts`).
    pub skipped_hosts: bool,
    /// The task's place stands above each failure (`show_task_path_on_failure`).
    pub task_path_on_failure: bool,
    /// What failed is told on standard error (`display_failed_stderr`).
    pub failures_to_err: bool,
    /// What `set_stats` has gathered is told behind the recap (`show_custom_stats`).
    pub custom_stats: bool,
    pub colours: Colours,
}

/// When there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colours {
    /// On a terminal that wants them.
    #[default]
    Auto,
    Always,
    Never,
}

impl Default for OutputSettings {
    fn default() -> OutputSettings {
        OutputSettings {
            answers: None,
            ok_hosts: true,
            skipped_hosts: true,
            task_path_on_failure: false,
            failures_to_err: false,
            custom_stats: false,
            colours: Colours::Auto,
        }
    }
}

impl OutputSettings {
    /// Whether some results are not told, so that a banner waits for the first that is.
    pub(super) fn leaves_out(&self) -> bool {
        !(self.ok_hosts && self.skipped_hosts)
    }
}
