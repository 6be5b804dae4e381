//! Which lines of two texts are shown as the same: those that Python's `difflib` pairs, so that a diff has the hunks that
//! Ansible shows. The longest run of equal lines comes first, then the longest on either side of it, and so on.

use std::collections::HashMap;
use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Pairs of lines that are looked at before the pairing is left to a way that takes less time: a second or so.
const PAIRS_AT_MOST: usize = 10_000_000;
/// From this many lines on, lines that are there often do not begin a run of equal lines.
const MANY_LINES: usize = 200;

/// Lines that are equal: `len` of them, from `old` and from `new` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    old: usize,
    new: usize,
    len: usize,
}

/// Lines of the old text in whose place those of the new one have come; either may be none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) old: Range<usize>,
    pub(super) new: Range<usize>,
}

/// All changes, in their order.
pub(super) fn changes(old: &[&str], new: &[&str]) -> Vec<Change> {
    changes_within(old, new, PAIRS_AT_MOST)
}

fn changes_within(old: &[&str], new: &[&str], pairs: usize) -> Vec<Change> {
    let mut runs = Matcher::new(old, new, pairs).runs().unwrap_or_else(|| sparing(old, new));
    runs.push(Run { old: old.len(), new: new.len(), len: 0 });
    let (mut old_done, mut new_done) = (0, 0);
    let mut changes = Vec::new();
    for run in runs {
        if run.old > old_done || run.new > new_done {
            changes.push(Change { old: old_done..run.old, new: new_done..run.new });
        }
        (old_done, new_done) = (run.old + run.len, run.new + run.len);
    }
    changes
}

/// The equal runs by the algorithm of Myers, which needs little time for texts that differ little.
fn sparing(old: &[&str], new: &[&str]) -> Vec<Run> {
    let equal = |op: DiffOp| match op {
        DiffOp::Equal { old_index, new_index, len } => Some(Run { old: old_index, new: new_index, len }),
        _ => None,
    };
    capture_diff_slices(Algorithm::Myers, old, new).into_iter().filter_map(equal).collect()
}

struct Matcher<'t> {
    old: &'t [&'t str],
    new: &'t [&'t str],
    /// Where in the new text a line is that may begin a run.
    places: HashMap<&'t str, Vec<usize>>,
    pairs_left: usize,
}

impl<'t> Matcher<'t> {
    fn new(old: &'t [&'t str], new: &'t [&'t str], pairs: usize) -> Matcher<'t> {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, line) in new.iter().enumerate() {
            places.entry(line).or_default().push(place);
        }
        if new.len() >= MANY_LINES {
            places.retain(|_, places| places.len() <= new.len() / 100 + 1);
        }
        Matcher { old, new, places, pairs_left: pairs }
    }

    /// None if it would take too long.
    fn runs(mut self) -> Option<Vec<Run>> {
        let mut open = vec![(0..self.old.len(), 0..self.new.len())];
        let mut runs = Vec::new();
        while let Some((old, new)) = open.pop() {
            let run = self.longest(old.clone(), new.clone())?;
            if run.len > 0 {
                open.push((old.start..run.old, new.start..run.new));
                open.push((run.old + run.len..old.end, run.new + run.len..new.end));
                runs.push(run);
            }
        }
        runs.sort_by_key(|run| run.old);
        Some(runs)
    }

    /// The longest run within both ranges: of equally long ones the first in the old text, then in the new one.
    fn longest(&mut self, old: Range<usize>, new: Range<usize>) -> Option<Run> {
        let mut best = Run { old: old.start, new: new.start, len: 0 };
        // How long the run is that ends at a place of the new text and at the line before.
        let mut ending: HashMap<usize, usize> = HashMap::new();
        for at in old.clone() {
            let mut ending_here = HashMap::new();
            let places = self.places.get(self.old[at]).map_or(&[][..], Vec::as_slice);
            let first = places.partition_point(|place| *place < new.start);
            for &place in places[first..].iter().take_while(|place| **place < new.end) {
                self.pairs_left = self.pairs_left.checked_sub(1)?;
                let before = place.checked_sub(1).and_then(|before| ending.get(&before));
                let len = before.copied().unwrap_or(0) + 1;
                ending_here.insert(place, len);
                if len > best.len {
                    best = Run { old: at + 1 - len, new: place + 1 - len, len };
                }
            }
            ending = ending_here;
        }
        Some(self.widened(best, &old, &new))
    }

    /// With the lines before and behind that are equal, too: those that may not begin a run may be part of one.
    fn widened(&self, mut run: Run, old: &Range<usize>, new: &Range<usize>) -> Run {
        while run.old > old.start && run.new > new.start && self.old[run.old - 1] == self.new[run.new - 1] {
            run = Run { old: run.old - 1, new: run.new - 1, len: run.len + 1 };
        }
        let end = |run: Run| (run.old + run.len, run.new + run.len);
        while end(run).0 < old.end && end(run).1 < new.end && self.old[end(run).0] == self.new[end(run).1] {
            run.len += 1;
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(old: &str, new: &str) -> Vec<(Range<usize>, Range<usize>)> {
        let lines = |text: &'static str| text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>();
        let (old, new) = (lines(old.to_owned().leak()), lines(new.to_owned().leak()));
        changes(&old, &new).into_iter().map(|change| (change.old, change.new)).collect()
    }

    #[test]
    fn what_is_repeated_is_new_where_the_longest_run_does_not_reach() {
        assert_eq!(told("m q m s", "m q m q m s"), [(0..0, 0..2)]);
        assert_eq!(told("a b c", "a b c c"), [(3..3, 3..4)]);
        assert_eq!(told("x a b y", "a b y x"), [(0..1, 0..0), (4..4, 3..4)]);
    }

    #[test]
    fn texts_without_a_line_in_common_are_one_change() {
        assert_eq!(told("a b", "c"), [(0..2, 0..1)]);
        assert_eq!(told("", "c d"), [(0..0, 0..2)]);
        assert_eq!(told("a", "a"), []);
    }

    #[test]
    fn in_long_texts_frequent_lines_begin_no_run() {
        let many: String = (0..150).map(|n| format!("same l{n} ")).collect();
        let shifted = format!("same same {many}");
        assert_eq!(told(&many, &shifted), [(0..0, 0..2)]);
        let only: Vec<&str> = vec!["same"; 300];
        assert_eq!(changes(&only[..250], &only).len(), 1, "a run of nothing else is found from its edges");
    }

    #[test]
    fn what_would_take_too_long_is_paired_all_the_same() {
        let old: Vec<&str> = "a b a b a b a b".split(' ').collect();
        let mut new = old.clone();
        new[4] = "other";
        assert!(Matcher::new(&old, &new, 3).runs().is_none());
        assert_eq!(changes_within(&old, &new, 3), [Change { old: 4..5, new: 4..5 }]);
    }
}
