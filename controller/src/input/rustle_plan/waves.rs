//! What batches mean beyond their tasks: an order among them, and the waves of a rolling plan.

use std::collections::{HashMap, HashSet};

use rustle_protocol::HostName;

use super::merge::chain;
use super::model::PlayFile;
use crate::input::graph;
use crate::input::source::shown;
use crate::plan::Waves;

/// Places of the play's batches, each after those it depends on.
///
/// # Errors
/// Two batches of one name, a dependency on nothing, a circle.
pub(super) fn in_order(play: &PlayFile) -> Result<Vec<usize>, String> {
    let mut places = HashMap::new();
    for (at, batch) in play.batches.iter().enumerate() {
        if places.insert(batch.batch_id.as_str(), at).is_some() {
            return Err(format!("two batches are called `{}`", shown(&batch.batch_id)));
        }
    }
    let place_of = |id: &String, batch: &str| {
        let unknown = || format!("batch `{}` depends on `{}`, which is no batch of the play", shown(batch), shown(id));
        places.get(id.as_str()).copied().ok_or_else(unknown)
    };
    let needs = play
        .batches
        .iter()
        .map(|batch| batch.dependencies.iter().map(|id| place_of(id, &batch.batch_id)).collect())
        .collect::<Result<Vec<Vec<usize>>, String>>()?;
    graph::order(&needs).map_err(|circle| chain(circle.iter().map(|at| play.batches[*at].batch_id.as_str())))
}

/// One wave for each batch, hosts as the plan orders them.
///
/// # Errors
/// A host that would go through the play twice.
pub(super) fn explicit(play: &PlayFile, order: &[usize]) -> Result<Waves, String> {
    let mut seen: HashSet<&HostName> = HashSet::new();
    let mut waves = Vec::new();
    for at in order {
        let batch = &play.batches[*at];
        if let Some(host) = batch.hosts.iter().find(|host| !seen.insert(host)) {
            return Err(format!("host `{host}` is in batch `{}` and in one before it", shown(&batch.batch_id)));
        }
        if !batch.hosts.is_empty() {
            waves.push(batch.hosts.clone());
        }
    }
    Ok(Waves::Explicit(waves))
}
