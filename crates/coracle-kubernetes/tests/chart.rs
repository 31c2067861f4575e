//! The Helm chart's ClusterRole is what the engine's table says, no more and no less.
//!
//! `UPDATE=1 cargo nextest run -p coracle-kubernetes --test chart` writes it anew; then `scripts/manifests`.

use coracle_kubernetes::rbac::RULES;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../deploy/helm/coracle/files/engine-rules.yaml"
);

fn rules() -> String {
    let mut text = String::from(
        "# Made of crates/coracle-kubernetes/src/rbac.rs by: UPDATE=1 cargo nextest run -p coracle-kubernetes --test chart\n",
    );
    for rule in RULES {
        // A list in JSON is one in YAML too.
        let verbs: Vec<String> = rule
            .verbs
            .iter()
            .map(|verb| format!("\"{verb}\""))
            .collect();
        text.push_str(&format!(
            "# {}\n- apiGroups: [\"{}\"]\n  resources: [\"{}\"]\n  verbs: [{}]\n",
            rule.reason,
            rule.group,
            rule.resource,
            verbs.join(", ")
        ));
    }
    text
}

#[test]
fn the_charts_cluster_role_is_the_engines_table() {
    let now = rules();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &now).unwrap();
    }
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        committed == now,
        "deploy/helm/coracle/files/engine-rules.yaml is stale: run this test with UPDATE=1, then scripts/manifests"
    );
}

#[test]
fn no_rule_is_wider_than_it_says() {
    for rule in RULES {
        assert!(!rule.reason.is_empty(), "{rule:?}");
        assert!(rule.verbs.is_sorted() && !rule.verbs.is_empty(), "{rule:?}");
        for word in rule.verbs.iter().chain([&rule.resource, &rule.group]) {
            assert!(!word.contains('*'), "{rule:?}");
            assert!(
                !["bind", "escalate", "impersonate"].contains(word),
                "{rule:?}"
            );
        }
        let same = |other: &&coracle_kubernetes::rbac::Rule| {
            (other.group, other.resource) == (rule.group, rule.resource)
        };
        assert_eq!(
            RULES.iter().filter(same).count(),
            1,
            "{rule:?} is there twice"
        );
    }
}
