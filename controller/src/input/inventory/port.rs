//! A host's name with a port behind it: `web1:2222`, `web[1:3]:2222`, `[2001:db8::1]:2222`.

use std::net::Ipv6Addr;

/// The name, or the pattern with ranges, and the port. An IPv6 address has its brackets off.
pub(crate) fn split_port(text: &str) -> (&str, Option<u16>) {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if ends_a_name(name) => port.parse().map_or((text, None), |port| (name, Some(port))),
        _ => (text, None),
    };
    (in_brackets(name).filter(|address| is_ipv6(address)).unwrap_or(name), port)
}

/// Whether a name is an IPv6 address, whose colons say nothing else.
pub(super) fn is_ipv6(name: &str) -> bool {
    name.parse::<Ipv6Addr>().is_ok()
}

fn in_brackets(name: &str) -> Option<&str> {
    name.strip_prefix('[')?.strip_suffix(']')
}

/// Whether a colon behind `name` begins a port: none stands before it but in brackets, and these are closed.
fn ends_a_name(name: &str) -> bool {
    let mut depth = 0_i32;
    let mut bare_colon = false;
    for c in name.chars() {
        depth += i32::from(c == '[') - i32::from(c == ']');
        bare_colon |= c == ':' && depth == 0;
    }
    depth == 0 && !bare_colon
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_stands_behind_the_last_colon_that_is_no_part_of_the_name() {
        let cases = [
            ("web1", ("web1", None)),
            ("web1:22", ("web1", Some(22))),
            ("web1:x", ("web1:x", None)),
            ("web1:65536", ("web1:65536", None)),
            ("web[1:3]", ("web[1:3]", None)),
            ("web[1:3]:22", ("web[1:3]", Some(22))),
            ("2001:db8::1", ("2001:db8::1", None)),
            ("[2001:db8::1]", ("2001:db8::1", None)),
            ("[2001:db8::1]:22", ("2001:db8::1", Some(22))),
            ("::1", ("::1", None)),
        ];
        for (text, expected) in cases {
            assert_eq!(split_port(text), expected, "{text}");
        }
    }
}
