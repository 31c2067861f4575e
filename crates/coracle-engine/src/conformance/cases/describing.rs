//! What an engine itself says of a pod.

use coracle_model::env::Secret;
use coracle_model::name::EnvName;
use serde_json::Value;

use crate::conformance::bench::{Bench, Given as _};

/// Names as hostile as a variable's may be.
const NAMES: [&str; 4] = ["PASSWORD", "name", "value", "_1"];

/// Every text in it, names of members too.
fn texts(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            all.push(name.clone());
            texts(value, all);
        }),
        Value::Array(items) => items.iter().for_each(|item| texts(item, all)),
        Value::String(text) => all.push(text.clone()),
        other => all.push(other.to_string()),
    }
}

/// The engine's own words tell of the pod, name its variables, and have no value of one.
pub async fn a_description_hides_the_values_of_variables(t: &Bench) {
    let values = [
        "hunter2-in-plain-words",
        "two\nlines \"quoted\" of-some-length",
        "a=b=c;$HOME`id`{\"env\":[\"X=y\"]}",
        "postgres://shop:pa%20ss@db.internal/shop \u{202e}\u{fc}",
    ];
    // Also on its command line, as people do.
    let line = "say=hunter2-in-plain-words; trap 'exit 0' TERM; while true; do sleep 1; done";
    let mut workload = t.shell("told", line);
    for (name, value) in NAMES.iter().zip(values) {
        let name = EnvName::new(*name).given("a variable's name");
        workload.template.env.push((name, Secret::new(value)));
    }
    let pod = t.running(&workload).await.remove(0);
    for life in ["the engine that made it", "another one"] {
        let told = t.engine().describe(&pod.id).await.given(life);
        let mut all = Vec::new();
        texts(&told, &mut all);
        let has = |needle: &str| all.iter().any(|text| text.contains(needle));
        assert!(has(pod.id.name.as_str()), "it is about the pod: {told}");
        for value in values {
            assert!(!has(value), "{life} tells {value:?}: {told}");
            for piece in value.lines().filter(|piece| piece.len() >= 16) {
                assert!(!has(piece), "{life} tells {piece:?}: {told}");
            }
        }
        assert!(!has("pa%20ss"), "{told}");
        t.begin_anew().await;
        t.ready(&workload).await;
    }
}
