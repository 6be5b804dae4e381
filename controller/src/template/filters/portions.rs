//! A list in portions: `batch` and `slice`.

use minijinja::value::Value;
use minijinja::{Environment, Error};

use super::params::{Filter, Params, add_filters, items};
use crate::template::convert::failed;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(
        env,
        &[Filter("batch", &["linecount", "fill_with"], batch), Filter("slice", &["slices", "fill_with"], slice)],
    );
}

fn filling(params: &Params) -> Option<&Value> {
    params.get("fill_with").filter(|value| !value.is_none())
}

/// Lists of so many items; the last one is filled up.
fn batch(value: &Value, params: &Params) -> Result<Value, Error> {
    params.need("linecount")?;
    let count = usize::try_from(params.int("linecount", 0)?).unwrap_or(usize::MAX);
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    for item in items(value)? {
        if batch.len() == count {
            batches.push(Value::from(std::mem::take(&mut batch)));
        }
        batch.push(item);
    }
    if !batch.is_empty() {
        if let Some(filling) = filling(params) {
            let missing = count.saturating_sub(batch.len()).min(FILLED_MAX);
            batch.extend(std::iter::repeat_n(filling.clone(), missing));
        }
        batches.push(Value::from(batch));
    }
    Ok(Value::from(batches))
}

/// What fills up a batch: beyond it a template has gone wrong.
const FILLED_MAX: usize = 1_000_000;

/// So many lists, of which the first are one longer where it comes out uneven.
fn slice(value: &Value, params: &Params) -> Result<Value, Error> {
    params.need("slices")?;
    let count = usize::try_from(params.int("slices", 0)?).unwrap_or(0).min(FILLED_MAX);
    if count == 0 {
        return Err(failed("integer division or modulo by zero"));
    }
    let all = items(value)?;
    let (each, longer) = (all.len() / count, all.len() % count);
    let mut rest = all.into_iter();
    let slices = (0..count).map(|number| {
        let mut slice: Vec<Value> = rest.by_ref().take(each + usize::from(number < longer)).collect();
        slice.extend(filling(params).filter(|_| number >= longer).cloned());
        Value::from(slice)
    });
    Ok(slices.collect())
}
