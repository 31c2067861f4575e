//! What the engine itself says of a pod.

use coracle_model::pod::PodPhase;
use coracle_model::user::{ProjectScope, Role};
use serde_json::json;

use crate::support::{Platform, pod_id};

#[tokio::test]
async fn it_is_told_without_values_to_those_who_may_change_the_pod() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    let dora = platform
        .user("dora", Role::Developer, ProjectScope::All)
        .await;
    let vera = platform.user("vera", Role::Viewer, ProjectScope::All).await;
    let markup = "<script>alert(1)</script>\u{1b}]0;x\u{7}";
    let env = json!({"PASSWORD": "hunter2-in-plain-words", "name": markup, "EMPTY": ""});
    platform.run_pod("shop", None, "other").await;
    let path = "projects/default/pods/box/description";
    dora.get(path).await.problem(404, "not_found");
    let mut workload = platform.workload("default", "box");
    workload.template.env = serde_json::from_value::<std::collections::BTreeMap<_, _>>(env)
        .unwrap()
        .into_iter()
        .collect();
    platform.control.engine.apply(workload).await.unwrap();
    platform
        .pod_is(&pod_id("default", "box"), PodPhase::Ready)
        .await;
    let answer = dora.get(path).await;
    let told = answer.ok(200);
    assert_eq!(told["engine"], "sim");
    assert_eq!(told["raw"]["name"], "box");
    assert_eq!(
        told["raw"]["env"],
        json!(["EMPTY=(hidden)", "PASSWORD=(hidden)", "name=(hidden)"])
    );
    for hidden in ["hunter2", "script", "\u{1b}"] {
        assert!(!answer.text().contains(hidden), "{}", answer.text());
    }
    vera.get(path).await.problem(403, "forbidden");
    dora.get("projects/shop/pods/box/description")
        .await
        .problem(404, "not_found");
}
