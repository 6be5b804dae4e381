//! Many host names as few words: `web[3,9,12-46],db1`.
//!
//! Names that differ in one number share a pair of brackets. Zero padding is kept: `web[01-12]`. No host name has a
//! bracket or a comma in it, so the names can be told from the text again.

use std::collections::BTreeMap;

use rustle_protocol::HostName;

/// Longest list of hosts in a line; what is beyond is only counted. About five lines of a terminal.
pub(super) const HOST_LIST_BYTES_MAX: usize = 400;

/// Most digits that are read as a number: fits `u64` with room to spare. Longer ones are text.
const DIGITS_MAX: usize = 18;

/// All of the hosts, in ranges, each name once. Ordered by name but for the numbers, which count.
pub fn ranges<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> String {
    let mut names: Vec<&str> = hosts.into_iter().map(HostName::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let mut groups: BTreeMap<Around<'_>, Vec<Number<'_>>> = BTreeMap::new();
    for (around, number) in split_all(&names) {
        groups.entry(around).or_default().extend(number);
    }
    groups.into_iter().map(|(around, numbers)| group_text(around, numbers)).collect::<Vec<_>>().join(",")
}

/// [`ranges`] cut to `HOST_LIST_BYTES_MAX`.
pub fn short_list<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> String {
    let mut text = ranges(hosts);
    if text.len() > HOST_LIST_BYTES_MAX {
        let whole = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= HOST_LIST_BYTES_MAX).last();
        text.truncate(whole.unwrap_or_default());
        text.truncate(text.rfind(',').unwrap_or(text.len()));
        text.push_str(",…");
    }
    text
}

/// A number as people write it: `1,993`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 host`, `1,993 hosts`.
pub fn hosts(n: usize) -> String {
    format!("{} host{}", count(n), if n == 1 { "" } else { "s" })
}

/// A name without one of its numbers: what stands before it and after it. A name without a number has nothing after.
type Around<'a> = (&'a str, Option<&'a str>);

/// Ordered by value, then by length: `9` before `09`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number<'a> {
    value: u64,
    len: usize,
    digits: &'a str,
}

/// Splits each name at the number that makes the most names alike, the last such one in the name.
fn split_all<'a>(names: &[&'a str]) -> Vec<(Around<'a>, Option<Number<'a>>)> {
    let mut alike: BTreeMap<Around<'a>, usize> = BTreeMap::new();
    for (around, _) in names.iter().flat_map(|name| numbers(name)) {
        *alike.entry(around).or_default() += 1;
    }
    let best = |name: &'a str| numbers(name).max_by_key(|(around, _)| alike[around]);
    names
        .iter()
        .map(|name| best(name).map_or(((*name, None), None), |(around, number)| (around, Some(number))))
        .collect()
}

/// Every number in a name with what stands around it, in the order of the name.
fn numbers(name: &str) -> impl Iterator<Item = (Around<'_>, Number<'_>)> {
    let is_digit = |at: usize| name.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let starts = (0..name.len()).filter(move |at| is_digit(*at) && (*at == 0 || !is_digit(at - 1)));
    starts.filter_map(move |start| {
        let len = name.as_bytes()[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        let digits = &name[start..start + len];
        let value = if len <= DIGITS_MAX { digits.parse().ok()? } else { return None };
        Some(((&name[..start], Some(&name[start + len..])), Number { value, len, digits }))
    })
}

fn group_text((before, after): Around<'_>, mut numbers: Vec<Number<'_>>) -> String {
    numbers.sort_unstable();
    let after = after.unwrap_or_default();
    match numbers.as_slice() {
        [] => before.to_owned(),
        [only] => format!("{before}{}{after}", only.digits),
        _ => format!("{before}[{}]{after}", number_ranges(&numbers)),
    }
}

fn number_ranges(numbers: &[Number<'_>]) -> String {
    numbers
        .chunk_by(|a, b| a.next_digits() == b.digits)
        .map(|run| match run {
            [only] => only.digits.to_owned(),
            [first, .., last] => format!("{}-{}", first.digits, last.digits),
            [] => String::new(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

impl Number<'_> {
    /// The next number in this one's manner: `08` → `09` → `10`, `9` → `10`.
    fn next_digits(&self) -> String {
        format!("{:0width$}", self.value + 1, width = self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn fold(names: &[&str]) -> String {
        let hosts: Vec<HostName> = names.iter().map(|name| HostName::new(name).unwrap()).collect();
        ranges(&hosts)
    }

    /// Reads [`ranges`]' text back.
    fn unfold(text: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (part, after) = split_outside_brackets(rest);
            rest = after;
            match part.split_once('[') {
                None => names.push(part.to_owned()),
                Some((before, more)) => {
                    let (list, after) = more.split_once(']').unwrap();
                    names.extend(list.split(',').flat_map(numbers_of).map(|n| format!("{before}{n}{after}")));
                }
            }
        }
        names
    }

    fn split_outside_brackets(text: &str) -> (&str, &str) {
        let mut depth = 0;
        let comma = text.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '[') - i32::from(*c == ']');
            depth == 0 && *c == ','
        });
        comma.map_or((text, ""), |(at, _)| (&text[..at], &text[at + 1..]))
    }

    fn numbers_of(range: &str) -> Vec<String> {
        match range.split_once('-') {
            None => vec![range.to_owned()],
            Some((first, last)) => {
                let (from, to): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
                (from..=to).map(|n| format!("{n:0width$}", width = first.len())).collect()
            }
        }
    }

    #[test]
    fn numbers_become_ranges() {
        let mut names: Vec<String> = (12..=46).map(|n| format!("web{n}")).collect();
        names.extend(["web9".to_owned(), "web3".to_owned()]);
        assert_eq!(fold(&names.iter().map(String::as_str).collect::<Vec<_>>()), "web[3,9,12-46]");
    }

    #[test]
    fn zero_padding_is_kept() {
        assert_eq!(fold(&["web08", "web09", "web10", "web11"]), "web[08-11]");
        assert_eq!(fold(&["web8", "web9", "web09", "web10"]), "web[8-9,09-10]");
        assert_eq!(fold(&["n99", "n100"]), "n[99-100]");
    }

    #[test]
    fn the_number_that_tells_hosts_apart_is_the_one_in_brackets() {
        assert_eq!(fold(&["web1.dc2.example", "web2.dc2.example", "web3.dc2.example"]), "web[1-3].dc2.example");
        assert_eq!(fold(&["10.0.0.1", "10.0.0.2", "10.0.0.7"]), "10.0.0.[1-2,7]");
    }

    #[test]
    fn names_without_a_number_or_alone_stay_as_they_are() {
        assert_eq!(fold(&["mail", "db1", "bastion"]), "bastion,db1,mail");
        assert_eq!(fold(&["x123456789012345678901234567890"]), "x123456789012345678901234567890");
        assert_eq!(fold(&[]), "");
    }

    #[test]
    fn a_long_list_is_cut_at_a_comma() {
        let hosts: Vec<HostName> = (0..500).map(|n| HostName::new(&format!("web{}", n * 2)).unwrap()).collect();
        let text = short_list(&hosts);
        assert!(text.len() <= HOST_LIST_BYTES_MAX + ",…".len());
        assert!(text.ends_with(",…"), "{text}");
        let long = |first: char| HostName::new(&format!("{first}{}", "ö".repeat(126))).unwrap();
        assert_eq!(short_list(&[long('a'), long('b')]), format!("{},…", long('a')));
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1, 1993].map(hosts), ["1 host", "1,993 hosts"]);
    }

    proptest! {
        #[test]
        fn the_names_can_be_told_from_the_ranges(
            names in prop::collection::btree_set("(web|db|a-)?[0-9]{0,3}(\\.dc[0-9]{1,2})?(-x)?", 0..60)
        ) {
            let hosts: BTreeSet<HostName> = names.iter().filter_map(|name| HostName::new(name).ok()).collect();
            let text = ranges(&hosts);
            let mut back = unfold(&text);
            let in_all = back.len();
            back.sort();
            back.dedup();
            prop_assert_eq!(in_all, back.len(), "a name twice in {}", text);
            prop_assert_eq!(back, hosts.iter().map(|host| host.as_str().to_owned()).collect::<Vec<_>>());
        }
    }
}
