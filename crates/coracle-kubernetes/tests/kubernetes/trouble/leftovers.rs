//! What a process that was killed left half made.

use std::sync::Arc;
use std::time::Duration;

use coracle_engine::Engine as _;
use coracle_model::env::Secret;
use coracle_model::name::{EnvName, ProjectName};

use super::{Bed, web};
use crate::ground::LONG;

/// A process was killed before what it had made got its owner: the next one removes what no workload needs, and
/// nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_no_workload_any_more_is_removed_in_the_next_life() {
    let Some(first) = Bed::new(|_| {}).await else {
        return;
    };
    let mut web = web(1);
    let key = EnvName::new("KEY").unwrap();
    web.template.env.push((key, Secret::new("hush")));
    first.engine.apply(web.clone()).await.unwrap();
    first.ready(&web, 1).await;
    let owner = "get secret web-g1-env -o jsonpath={.metadata.ownerReferences[0].kind}";
    let owned = async {
        let mut look = tokio::time::interval(Duration::from_millis(200));
        while first.within(owner) != "Deployment" {
            look.tick().await;
        }
    };
    tokio::time::timeout(LONG, owned).await.unwrap();
    first.life.token().cancel();
    let platform = Arc::clone(&first.platform);
    // Killed after the Deployment was made, before the Secret was given it as its owner.
    let unowned = r#"[{"op":"remove","path":"/metadata/ownerReferences"}]"#;
    first.within(&format!(
        "patch secret web-g1-env --type=json --patch {unowned}"
    ));
    // Killed before the Deployment was made, and its workload is wished no more.
    let ours = format!(
        "coracle.io/platform={},coracle.io/workload=ghost",
        platform.id
    );
    first.within("create secret generic ghost-g1-env --from-literal=KEY=hush");
    first.within(&format!(
        "label secret ghost-g1-env {}",
        ours.replace(',', " ")
    ));
    first.within("create service clusterip ghost --tcp=80");
    first.within(&format!("label service ghost {}", ours.replace(',', " ")));
    first.within("create secret generic stranger --from-literal=KEY=hush");
    first.within("label secret stranger coracle.io/workload=ghost");

    let second = Bed::on(platform, |_| {}).await;
    let project = ProjectName::default_project();
    second.engine.ensure_project(&project).await.unwrap();
    let left = |kind: &str| second.within(&format!("get {kind} -o name"));
    assert_eq!(
        second.within(&format!("get secret,service -l {ours} -o name")),
        ""
    );
    let secrets = left("secret");
    assert!(secrets.contains("secret/web-g1-env"), "{secrets}");
    assert!(secrets.contains("secret/stranger"), "{secrets}");
    second.within("delete secret stranger");
    second.engine.remove_project(&project).await.unwrap();
}
