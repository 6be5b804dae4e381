//! Access and modification times a task asks for.

use chrono::format::{Parsed, StrftimeItems, parse};
use chrono::{Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use rustix::fs::{AtFlags, CWD, Stat, Timespec, Timestamps, UTIME_NOW, utimensat};

use super::node::{Kind, Node, field, seconds};
use crate::module::{Doing, ModuleError};

/// What a time shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Preserve,
    Now,
    /// Seconds since 1970.
    At(i64),
}

impl Time {
    /// `preserve`, `now`, or a local time in `format`.
    ///
    /// # Errors
    /// The text is none of these.
    pub(crate) fn parse(text: Option<&str>, format: &str, default: Time) -> Result<Time, ModuleError> {
        let text = match text {
            None | Some("") => return Ok(default),
            Some("preserve") => return Ok(Time::Preserve),
            Some("now") => return Ok(Time::Now),
            Some(text) => text,
        };
        let wrong = |why: &dyn std::fmt::Display| {
            ModuleError::new(format!("Error while obtaining timestamp for time {text} using format {format}: {why}"))
        };
        let naive = read(text, format)
            .ok_or_else(|| wrong(&format_args!("time data '{text}' does not match format '{format}'")))?;
        let local =
            Local.from_local_datetime(&naive).earliest().ok_or_else(|| wrong(&"there was no such local time"))?;
        Ok(Time::At(local.timestamp()))
    }

    fn differs(self, whole: i64, nanos: u64) -> bool {
        match self {
            Time::Preserve => false,
            Time::Now => true,
            Time::At(at) => at != whole || nanos != 0,
        }
    }

    fn timespec(self, whole: i64, nanos: u64) -> Timespec {
        match self {
            Time::Preserve => Timespec { tv_sec: whole, tv_nsec: field(nanos) },
            Time::Now => Timespec { tv_sec: 0, tv_nsec: field(UTIME_NOW) },
            Time::At(at) => Timespec { tv_sec: at, tv_nsec: 0 },
        }
    }
}

/// What a text leaves out is as in Python's `strptime`: midnight, or the first day of the year or of 1900.
fn read(text: &str, format: &str) -> Option<NaiveDateTime> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(format)).ok()?;
    let date = parsed.to_naive_date().ok().or_else(|| first_day(&parsed))?;
    let time = match (parsed.hour_div_12(), parsed.hour_mod_12()) {
        (None, None) => NaiveTime::MIN,
        _ => {
            // Hours alone are a time in Python.
            if parsed.minute().is_none() {
                parsed.set_minute(0).ok()?;
            }
            parsed.to_naive_time().ok()?
        }
    };
    Some(date.and_time(time))
}

fn first_day(parsed: &Parsed) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(parsed.year().unwrap_or(1900), parsed.month().unwrap_or(1), parsed.day().unwrap_or(1))
}

/// Both times of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) access: Time,
    pub(crate) modification: Time,
}

/// A time before and after, as `atime` or `mtime`.
pub(crate) type TimeChange = (&'static str, f64, f64);

impl Times {
    /// Sets the times, unless `check`. Gives back what changed; now is always a change.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn apply(self, node: &mut Node, check: bool) -> Result<Vec<TimeChange>, ModuleError> {
        let stat = *node.stat();
        let (atime, mtime) = times_of(&stat);
        if !self.access.differs(atime.0, atime.1) && !self.modification.differs(mtime.0, mtime.1) {
            return Ok(Vec::new());
        }
        if !check {
            let times = Timestamps {
                last_access: self.access.timespec(atime.0, atime.1),
                last_modification: self.modification.timespec(mtime.0, mtime.1),
            };
            let done = match node.kind() {
                Kind::Link => utimensat(CWD, node.path(), &times, AtFlags::SYMLINK_NOFOLLOW),
                _ => utimensat(CWD, node.proc_path(), &times, AtFlags::empty()),
            };
            done.doing(|| format!("set the times of {}", node.path().display()))?;
            node.refresh()?;
        }
        let told = |name, time: Time, (whole, nanos): (i64, u64)| {
            let after = match time {
                Time::Preserve => return None,
                Time::Now => Local::now().timestamp_micros() as f64 / 1e6,
                Time::At(at) => at as f64,
            };
            time.differs(whole, nanos).then_some((name, seconds(whole, nanos), after))
        };
        Ok([told("atime", self.access, atime), told("mtime", self.modification, mtime)].into_iter().flatten().collect())
    }
}

/// Of access and modification, each in seconds since 1970 and nanoseconds.
pub(super) fn times_of(stat: &Stat) -> ((i64, u64), (i64, u64)) {
    ((field(stat.st_atime), field(stat.st_atime_nsec)), (field(stat.st_mtime), field(stat.st_mtime_nsec)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_words_or_written_in_a_format() {
        let parse = |text| Time::parse(text, "%Y%m%d%H%M.%S", Time::Preserve);
        assert_eq!(parse(None).unwrap(), Time::Preserve);
        assert_eq!(parse(Some("now")).unwrap(), Time::Now);
        let Time::At(at) = parse(Some("202001020304.05")).unwrap() else { panic!("a time") };
        assert_eq!(Local.timestamp_opt(at, 0).unwrap().format("%F %T").to_string(), "2020-01-02 03:04:05");
        let partly = |text, format| {
            let Time::At(at) = Time::parse(Some(text), format, Time::Now).unwrap() else { panic!("a time") };
            Local.timestamp_opt(at, 0).unwrap().format("%F %T").to_string()
        };
        assert_eq!(partly("2020-01-02", "%Y-%m-%d"), "2020-01-02 00:00:00");
        assert_eq!(partly("2021", "%Y"), "2021-01-01 00:00:00");
        assert_eq!(partly("5.2021 7", "%m.%Y %H"), "2021-05-01 07:00:00");
        assert_eq!(partly("07:08", "%H:%M"), "1900-01-01 07:08:00");
        assert!(Time::parse(Some("2021-02-30"), "%Y-%m-%d", Time::Now).is_err());
        assert!(parse(Some("yesterday")).unwrap_err().to_string().contains("for time yesterday using format"));
    }
}
