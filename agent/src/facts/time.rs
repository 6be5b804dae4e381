//! Date and time.

use chrono::{DateTime, Local, Utc};
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::Host;

pub(super) fn gather(host: &Host<'_>, facts: &mut Map) {
    let now = Local::now();
    let names = match std::env::var("TZ") {
        Ok(rule) if zone_names(&rule).0.is_some() => Some(rule),
        Ok(zone) if !zone.is_empty() && !zone.contains("..") => zone_rule(host, &format!("/usr/share/zoneinfo/{zone}")),
        _ => zone_rule(host, "/etc/localtime"),
    };
    let names = names.unwrap_or_default();
    facts.insert("date_time".into(), Value::Map(date_time(now, &names)));
}

/// The rule at the end of the zone's file: `CET-1CEST,M3.5.0,M10.5.0/3`.
fn zone_rule(host: &Host<'_>, file: &str) -> Option<String> {
    let bytes = std::fs::read(host.path(file)).ok()?;
    let bytes = bytes.strip_suffix(b"\n")?;
    let start = bytes.iter().rposition(|byte| *byte == b'\n')?;
    String::from_utf8(bytes[start + 1..].to_vec()).ok()
}

fn date_time(now: DateTime<Local>, zone: &str) -> Map {
    let utc = now.with_timezone(&Utc);
    let (standard, summer) = zone_names(zone);
    let offset_minutes = now.offset().local_minus_utc() / 60;
    let is_standard = standard.as_ref().is_none_or(|(_, minutes)| *minutes == offset_minutes);
    let standard = standard.map_or_else(|| "UTC".to_owned(), |(name, _)| name);
    let summer = summer.unwrap_or_else(|| standard.clone());
    let local = |format: &str| now.format(format).to_string();
    let entries = [
        ("year", local("%Y")),
        ("month", local("%m")),
        ("weekday", local("%A")),
        ("weekday_number", local("%w")),
        ("weeknumber", local("%W")),
        ("day", local("%d")),
        ("hour", local("%H")),
        ("minute", local("%M")),
        ("second", local("%S")),
        ("epoch", now.timestamp().to_string()),
        ("epoch_int", now.timestamp().to_string()),
        ("date", local("%Y-%m-%d")),
        ("time", local("%H:%M:%S")),
        ("iso8601_micro", utc.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()),
        ("iso8601", utc.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ("iso8601_basic", local("%Y%m%dT%H%M%S%6f")),
        ("iso8601_basic_short", local("%Y%m%dT%H%M%S")),
        ("tz", if is_standard { standard } else { summer.clone() }),
        ("tz_dst", summer),
        ("tz_offset", local("%z")),
    ];
    entries.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// The standard name with its offset in minutes east, and the summer name.
fn zone_names(rule: &str) -> (Option<(String, i32)>, Option<String>) {
    let Some((standard, rest)) = name(rule) else { return (None, None) };
    let end = rest.find(|c: char| !c.is_ascii_digit() && !"+-:".contains(c)).unwrap_or(rest.len());
    let (offset, rest) = rest.split_at(end);
    (Some((standard, -minutes(offset))), name(rest).map(|(name, _)| name))
}

fn name(rule: &str) -> Option<(String, &str)> {
    if let Some((name, rest)) = rule.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        return Some((name.to_owned(), rest));
    }
    let end = rule.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rule.len());
    // `Europe/Berlin` is a file's name and no rule.
    let is_rule =
        end >= 3 && (end == rule.len() || rule[end..].starts_with(|c: char| c.is_ascii_digit() || "+-,".contains(c)));
    is_rule.then(|| (rule[..end].to_owned(), &rule[end..]))
}

fn minutes(offset: &str) -> i32 {
    let (sign, digits) = match offset.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, offset.trim_start_matches('+')),
    };
    let mut parts = digits.split(':').map(|part| part.parse::<i32>().unwrap_or(0));
    sign * (parts.next().unwrap_or(0) * 60 + parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_rules_give_names_and_offset() {
        assert_eq!(zone_names("UTC0"), (Some(("UTC".into(), 0)), None));
        assert_eq!(zone_names("CET-1CEST,M3.5.0,M10.5.0/3"), (Some(("CET".into(), 60)), Some("CEST".into())));
        assert_eq!(zone_names("<+0530>-5:30"), (Some(("+0530".into(), 330)), None));
        assert_eq!(zone_names("Europe/Berlin"), (None, None));
    }

    #[test]
    fn all_of_ansibles_fields_are_there() {
        let map = date_time(Local::now(), "UTC0");
        assert_eq!(map.len(), 20);
        assert_eq!(map["iso8601_micro"].as_str().unwrap().len(), "2026-11-20T19:31:09.883177Z".len());
        assert_eq!(map["iso8601_basic"].as_str().unwrap().len(), "20261120T193109883177".len());
    }
}
