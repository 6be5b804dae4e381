//! Dates and times of YAML 1.1 as text: as Python prints what PyYAML makes of them.

use std::sync::LazyLock;

use chrono::NaiveDate;
use regex::Regex;

/// As PyYAML knows them.
static MOMENT: LazyLock<Regex> = LazyLock::new(|| {
    let date = r"(?<year>\d{4})-(?<month>\d\d?)-(?<day>\d\d?)";
    let time = r"(?<hour>\d\d?):(?<minute>\d\d):(?<second>\d\d)(?:\.(?<fraction>\d*))?";
    let zone = r"[ \t]*(?<zone>Z|(?<sign>[-+])(?<zone_hour>\d\d?)(?::(?<zone_minute>\d\d))?)";
    Regex::new(&format!(r"^{date}(?:(?:[Tt]|[ \t]+){time}(?:{zone})?)?$")).expect("a regex of our own")
});

/// Characters of a date without a time: it is a date only if it is written in full.
const DATE_LEN: usize = "2024-01-31".len();

/// Digits of a second's fraction that count.
const FRACTION_DIGITS: usize = 6;

/// The text for what is written, or `None` if that is no moment.
pub(super) fn text(written: &str) -> Option<String> {
    if written.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    let parts = MOMENT.captures(written)?;
    let part = |name: &str| parts.name(name).map(|part| part.as_str());
    let number = |name: &str| part(name).map_or(Some(0), |digits| digits.parse::<u32>().ok());
    let date = NaiveDate::from_ymd_opt(i32::try_from(number("year")?).ok()?, number("month")?, number("day")?)?;
    if part("hour").is_none() {
        return (written.len() == DATE_LEN).then(|| date.to_string());
    }
    let fraction: String =
        part("fraction").unwrap_or_default().chars().chain("000000".chars()).take(FRACTION_DIGITS).collect();
    let time = date.and_hms_opt(number("hour")?, number("minute")?, number("second")?)?;
    let fraction = if fraction.bytes().all(|digit| digit == b'0') { String::new() } else { format!(".{fraction}") };
    let zone = match part("zone") {
        None => String::new(),
        Some(_) => format!("{}{:02}:{:02}", part("sign").unwrap_or("+"), number("zone_hour")?, number("zone_minute")?),
    };
    Some(format!("{}{fraction}{zone}", time.format("%Y-%m-%d %H:%M:%S")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair as a template of ansible-core 2.19 prints it in a text.
    #[test]
    fn moments_are_printed_as_python_prints_them() {
        for (written, printed) in [
            ("2024-01-31", Some("2024-01-31")),
            ("2024-1-31", None),
            ("2024-13-01", None),
            ("2024-01-01 12:01:01", Some("2024-01-01 12:01:01")),
            ("2024-1-1  2:01:01", Some("2024-01-01 02:01:01")),
            ("2024-01-01T12:01:01Z", Some("2024-01-01 12:01:01+00:00")),
            ("2024-01-01t12:01:01.5+02:00", Some("2024-01-01 12:01:01.500000+02:00")),
            ("2024-01-01 12:01:01.0 -5", Some("2024-01-01 12:01:01-05:00")),
            ("2024-01-01 12:01", None),
            ("2024-01-01 25:01:01", None),
            ("2024-01-01-rc1", None),
            ("1234", None),
        ] {
            assert_eq!(text(written).as_deref(), printed, "{written}");
        }
    }
}
