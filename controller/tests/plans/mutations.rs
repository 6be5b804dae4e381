//! Nothing makes the readers panic.

use std::fs;

use proptest::prelude::*;
use rustle_exec::input::{Loaded, PlanSource};
use serde_json::{Value, json};

use super::{bytes, fixtures, read};

/// Puts `new` in the place of the `at`th value of a document, counted through.
fn replace(json: &mut Value, at: &mut usize, new: &Value) {
    if *at == 0 {
        *json = new.clone();
        *at = usize::MAX;
        return;
    }
    *at -= 1;
    match json {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, at, new)),
        Value::Object(map) => map.values_mut().for_each(|item| replace(item, at, new)),
        _ => {}
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!("")),
        Just(json!("block")),
        Just(json!("{{ x")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[["a"]]])),
        Just(json!({"Rolling": {"batch_size": 0}})),
        ".{0,8}".prop_map(|text| json!(text)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(PlanSource::Bytes(bytes), None, None).is_err());
    }

    #[test]
    fn a_plan_cut_short_is_refused(share in 0.0..1.0f64) {
        let text = fs::read(fixtures().join("01-simple/plan.linear.json")).unwrap();
        let end = (text.len() as f64 * share) as usize;
        prop_assert!(read(PlanSource::Bytes(text[..end.min(text.len() - 3)].to_vec()), None, None).is_err());
    }

    #[test]
    fn a_plan_with_some_values_replaced_is_read_or_refused(
        changes in prop::collection::vec((0usize..400, odd_value()), 1..4),
        parsed in any::<bool>(),
    ) {
        let file = if parsed { "10-lossy-features/parsed.json" } else { "03-handlers/plan.rolling.json" };
        let mut json: Value = serde_json::from_slice(&fs::read(fixtures().join(file)).unwrap()).unwrap();
        for (mut at, new) in changes {
            replace(&mut json, &mut at, &new);
        }
        if let Ok(Loaded { plan, .. }) = read(bytes(json.to_string()), None, None) {
            prop_assert!(plan.plays.iter().any(|play| !play.hosts.is_empty()));
            prop_assert!(plan.plays.iter().flat_map(|play| &play.tasks).all(|id| id.index() < plan.tasks.len()));
        }
    }
}
