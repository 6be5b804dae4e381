//! `inventory_hostnames`: hosts by their patterns.

use minijinja::Error;
use minijinja::value::Value;

use super::Call;
use crate::template::convert::failed;
use crate::template::filters::params::{entries, items};
use crate::template::python;

/// Hosts of patterns over the play's `groups`: `web:&eu:!old`, names and groups with wildcards.
pub(super) fn inventory_hostnames(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let groups = call.scope()?.lookup("groups").ok_or_else(|| failed("there is no inventory here"))?;
    let all = groups.get_attr("all").and_then(|all| items(&all))?;
    let members = |pattern: &str| -> Result<Vec<Value>, Error> {
        let glob = globset::Glob::new(pattern).map_err(|error| failed(error.to_string()))?.compile_matcher();
        let mut found: Vec<Value> = Vec::new();
        for (group, hosts) in entries(&groups)? {
            if glob.is_match(python::text(&group)) {
                found.extend(items(&hosts)?);
            }
        }
        found.extend(all.iter().filter(|host| glob.is_match(python::text(host))).cloned());
        Ok(found)
    };
    let mut chosen: Vec<Value> = Vec::new();
    // As in a play's `hosts`: what is added comes first, then what must hold too, then what is taken away.
    let texts = call.texts();
    let mut patterns: Vec<&str> = texts.iter().flat_map(|text| text.split([':', ','])).map(str::trim).collect();
    patterns.sort_by_key(|pattern| match pattern.chars().next() {
        Some('&') => 1,
        Some('!') => 2,
        _ => 0,
    });
    for pattern in patterns.into_iter().filter(|pattern| !pattern.is_empty()) {
        match pattern.chars().next() {
            Some('&') => {
                let kept = members(&pattern[1..])?;
                chosen.retain(|host| kept.contains(host));
            }
            Some('!') => {
                let gone = members(&pattern[1..])?;
                chosen.retain(|host| !gone.contains(host));
            }
            _ => {
                for host in members(pattern)? {
                    if !chosen.contains(&host) {
                        chosen.push(host);
                    }
                }
            }
        }
    }
    Ok(chosen)
}
