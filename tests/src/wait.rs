//! Waiting for things that happen, and for nothing else.

use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at what tells nobody that it has come: a file, a line of a log, another process.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` sees what it looks for.
///
/// # Panics
/// If it has not after a minute.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "waited {} s in vain until {what}", PATIENCE.as_secs());
        // What other processes do is told to nobody here: it is looked at until it is seen.
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Processes of this machine with `mark` in their command line or environment, but for this one.
pub fn processes_with(mark: &str) -> Vec<u32> {
    let own = std::process::id();
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own && (has(*pid, "cmdline", mark) || has(*pid, "environ", mark))).collect()
}

fn has(pid: u32, file: &str, mark: &str) -> bool {
    let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
}
