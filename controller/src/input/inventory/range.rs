//! Host patterns with ranges in inventories: `web[01:50:2]`, `db-[a:f]`, several in one name.

use super::Limits;

/// The names that `pattern` stands for, in order; just itself if it has no range.
///
/// # Errors
/// Why the range makes no sense, or that it stands for more than `limits.hosts_max` names.
pub(super) fn expand(pattern: &str, limits: &Limits) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    expand_into(pattern, String::new(), limits.hosts_max, &mut names)?;
    Ok(names)
}

fn expand_into(pattern: &str, head: String, most: usize, names: &mut Vec<String>) -> Result<(), String> {
    let Some(open) = pattern.find('[') else {
        if names.len() >= most {
            return Err(format!("the range stands for more than {most} hosts"));
        }
        names.push(head + pattern);
        return Ok(());
    };
    let close = pattern[open..].find(']').map(|at| open + at).ok_or("a range `[...]` is not closed")?;
    let tail = &pattern[close + 1..];
    for part in parts(&pattern[open + 1..close], most)? {
        expand_into(tail, format!("{head}{}{part}", &pattern[..open]), most, names)?;
    }
    Ok(())
}

/// What stands for one `[begin:end:step]`.
fn parts(range: &str, most: usize) -> Result<Vec<String>, String> {
    let bounds: Vec<&str> = range.split(':').collect();
    let (begin, end, step) = match bounds[..] {
        [begin, end] => (begin, end, "1"),
        [begin, end, step] => (begin, end, step),
        _ => return Err(format!("a range is `[begin:end]` or `[begin:end:step]`, not `[{range}]`")),
    };
    if end.is_empty() {
        return Err(format!("the range `[{range}]` has no end"));
    }
    let step: usize = step.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("`{step}` is not a step"))?;
    let begin = if begin.is_empty() { "0" } else { begin };
    match (begin.parse::<u64>(), end.parse::<u64>()) {
        (Ok(first), Ok(last)) => numbers(range, begin, (first, last), end.len(), step, most),
        _ => letters(range, begin, end, step),
    }
}

fn numbers(
    range: &str,
    begin: &str,
    (first, last): (u64, u64),
    end_width: usize,
    step: usize,
    most: usize,
) -> Result<Vec<String>, String> {
    let padded = begin.len() > 1 && begin.starts_with('0');
    let width = if padded { begin.len() } else { 0 };
    if padded && begin.len() != end_width {
        return Err(format!("begin and end of the range `[{range}]` must be equally long, for the leading zeros"));
    }
    if first > last {
        return Err(format!("the range `[{range}]` runs backwards"));
    }
    if (last - first) / step as u64 >= most as u64 {
        return Err(format!("the range `[{range}]` stands for more than {most} hosts"));
    }
    Ok((first..=last).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

/// `a` to `z`, then `A` to `Z`, as Ansible orders them.
fn letters(range: &str, begin: &str, end: &str, step: usize) -> Result<Vec<String>, String> {
    let alphabet = || ('a'..='z').chain('A'..='Z');
    let place = |text: &str| {
        let mut chars = text.chars();
        chars.next().filter(|_| chars.next().is_none()).and_then(|c| alphabet().position(|other| other == c))
    };
    let wrong = || format!("the range `[{range}]` is neither of numbers nor of single letters");
    let (first, last) = (place(begin).ok_or_else(wrong)?, place(end).ok_or_else(wrong)?);
    if first > last {
        return Err(format!("the range `[{range}]` runs backwards"));
    }
    Ok(alphabet().take(last + 1).skip(first).step_by(step).map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> Vec<String> {
        expand(pattern, &Limits::default()).unwrap()
    }

    fn refusal(pattern: &str) -> String {
        expand(pattern, &Limits::default()).unwrap_err()
    }

    #[test]
    fn ranges_stand_for_the_names_ansible_says() {
        assert_eq!(names("web"), ["web"]);
        assert_eq!(names("web[01:04:2].x"), ["web01.x", "web03.x"]);
        assert_eq!(names("h[8:10]"), ["h8", "h9", "h10"]);
        assert_eq!(names("h[:2]"), ["h0", "h1", "h2"]);
        assert_eq!(names("h[y:B]"), ["hy", "hz", "hA", "hB"]);
        assert_eq!(names("h[1:2]x[a:b]"), ["h1xa", "h1xb", "h2xa", "h2xb"]);
    }

    #[test]
    fn ranges_that_make_no_sense_are_refused() {
        assert_eq!(refusal("h[1]"), "a range is `[begin:end]` or `[begin:end:step]`, not `[1]`");
        assert_eq!(refusal("h[1:]"), "the range `[1:]` has no end");
        assert_eq!(refusal("h[1:3"), "a range `[...]` is not closed");
        assert_eq!(
            refusal("h[01:100]"),
            "begin and end of the range `[01:100]` must be equally long, for the leading zeros"
        );
        assert_eq!(refusal("h[5:1]"), "the range `[5:1]` runs backwards");
        assert_eq!(refusal("h[1:3:0]"), "`0` is not a step");
        assert_eq!(refusal("h[a:10]"), "the range `[a:10]` is neither of numbers nor of single letters");
    }

    #[test]
    fn a_range_that_would_fill_the_memory_is_refused_before_it_does() {
        assert!(refusal("h[1:18446744073709551615]").contains("more than"));
        assert!(refusal("h[1:1000]x[1:1000]x[1:1000]").contains("more than"));
    }
}
