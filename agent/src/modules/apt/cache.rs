//! apt's package lists: how old they are, and reading them anew.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{AptArgs, apt_get};
use crate::module::{ModuleContext, ModuleError};

/// The lists below one root.
pub(super) struct Cache {
    /// The first of these that is there tells the time.
    stamps: [PathBuf; 2],
}

impl Cache {
    pub(super) fn of(root: &Path) -> Cache {
        let stamps = ["var/lib/apt/periodic/update-success-stamp", "var/lib/apt/lists"];
        Cache { stamps: stamps.map(|path| root.join(path)) }
    }

    /// Seconds since 1970 of the last update; 0 if nobody knows.
    pub(super) fn updated_at(&self) -> u64 {
        let times = self.stamps.iter().filter_map(|path| std::fs::metadata(path).ok()?.modified().ok());
        let latest = times.max().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        latest.map_or(0, |time| time.as_secs())
    }

    /// Updates the lists if that is asked for and they are too old; true if it did. In check mode nothing is fetched.
    pub(super) fn update_if_needed(&mut self, args: &AptArgs, cx: &ModuleContext<'_>) -> Result<bool, ModuleError> {
        let is_asked = args.update_cache.unwrap_or(args.cache_valid_time > 0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let is_valid = args.cache_valid_time > 0 && self.updated_at() + args.cache_valid_time >= now;
        if !is_asked || is_valid {
            return Ok(false);
        }
        if cx.check {
            return Ok(true);
        }
        let mut tries = 0;
        loop {
            match apt_get(args).arg("update").run_checked(cx) {
                Ok(_) => return Ok(true),
                Err(error) if tries >= args.update_cache_retries || cx.cancel.is_cancelled() => {
                    let mut result = error.into_result();
                    let why = result.get("stderr").map(crate::module::shown).unwrap_or_default();
                    result.set("msg", format!("Failed to update apt cache after {tries} retries: {}", why.trim()));
                    return Err(result.into());
                }
                Err(_) => {
                    cx.cancel.sleep(Duration::from_secs(1 << tries.min(6)).min(max_delay(args)));
                    tries += 1;
                }
            }
        }
    }
}

fn max_delay(args: &AptArgs) -> Duration {
    Duration::from_secs(args.update_cache_retry_max_delay)
}
