//! Cases that are alike but for a number or a word.

mod failures;
mod loops;
mod precedence;
mod rolling;

use super::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [precedence::cases(), loops::cases(), failures::cases(), rolling::cases()].into_iter().flatten().collect()
}
