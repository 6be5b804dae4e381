//! An order in which everything comes after what it depends on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The places `0..needs.len()`, each after all that it needs, otherwise in rising order.
///
/// # Errors
/// A circle, as places of which each needs the next and the last the first.
pub(super) fn order(needs: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (at, needs) in needs.iter().enumerate() {
        for need in needs {
            needed_by[*need].push(at);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..needs.len()).filter(|at| waiting[*at] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(at)) = ready.pop() {
        order.push(at);
        for next in &needed_by[at] {
            waiting[*next] -= 1;
            if waiting[*next] == 0 {
                ready.push(Reverse(*next));
            }
        }
    }
    if order.len() == needs.len() { Ok(order) } else { Err(circle(needs, &waiting)) }
}

/// Follows what is still waited for until a place comes up again.
fn circle(needs: &[Vec<usize>], waiting: &[usize]) -> Vec<usize> {
    let stuck = |at: &usize| waiting[*at] > 0;
    let mut way: Vec<usize> = (0..needs.len()).find(stuck).into_iter().collect();
    while let Some(next) = way.last().and_then(|at| needs[*at].iter().copied().find(stuck)) {
        if let Some(start) = way.iter().position(|at| *at == next) {
            return way.split_off(start);
        }
        way.push(next);
    }
    way
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_free_keeps_its_order() {
        assert_eq!(order(&[vec![], vec![], vec![]]), Ok(vec![0, 1, 2]));
        assert_eq!(order(&[vec![2], vec![], vec![]]), Ok(vec![1, 2, 0]));
    }

    #[test]
    fn a_circle_is_named() {
        assert_eq!(order(&[vec![], vec![2], vec![3], vec![1]]), Err(vec![1, 2, 3]));
        assert_eq!(order(&[vec![0]]), Err(vec![0]));
        assert_eq!(order(&[vec![1], vec![1]]), Err(vec![1]));
    }

    proptest! {
        #[test]
        fn everything_comes_after_what_it_needs_or_a_circle_is_real(
            edges in prop::collection::vec((0usize..12, 0usize..12), 0..30)
        ) {
            let mut needs = vec![Vec::new(); 12];
            for (from, to) in edges {
                needs[from].push(to);
            }
            match order(&needs) {
                Ok(order) => {
                    let place = |wanted: usize| order.iter().position(|at| *at == wanted).unwrap();
                    prop_assert!((0..12).all(|at| needs[at].iter().all(|need| place(*need) < place(at))));
                }
                Err(circle) => {
                    let next = |at: usize| circle[(at + 1) % circle.len()];
                    prop_assert!((0..circle.len()).all(|at| needs[circle[at]].contains(&next(at))));
                }
            }
        }
    }
}
