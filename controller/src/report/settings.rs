//! What people have set of how a run is told in words, as Ansible's own callbacks have it.

use super::adhoc::Answers;
use super::palette::Palette;

/// Ansible's default.
pub(super) const DIFF_CONTEXT: usize = 3;

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
    /// What is only looked at, and not changed, is marked in banners (`check_mode_markers`).
    pub check_mode_markers: bool,
    /// Each host that comes to a task is told (`show_per_host_start`).
    pub arrivals: bool,
    pub colours: Colours,
    pub palette: Palette,
    /// Lines of context around each change in a diff (`DIFF_CONTEXT`).
    pub diff_context: usize,
    /// Somebody is asked before each task (`--step`), and may say that it is left out.
    pub asks: bool,
    pub result_format: ResultFormat,
}

/// How what a result holds is written (`callback_result_format`, `callback_format_pretty`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultFormat {
    /// JSON: on many lines what is always shown, the rest on one.
    #[default]
    Json,
    JsonOnOneLine,
    JsonOnManyLines,
    /// On lines of its own.
    Yaml,
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
            check_mode_markers: false,
            arrivals: false,
            colours: Colours::Auto,
            palette: Palette::default(),
            diff_context: DIFF_CONTEXT,
            asks: false,
            result_format: ResultFormat::default(),
        }
    }
}

impl OutputSettings {
    /// Whether some results are not told, or there may be none, so that a banner waits for the first that is told.
    pub(super) fn leaves_out(&self) -> bool {
        self.asks || !(self.ok_hosts && self.skipped_hosts)
    }
}
