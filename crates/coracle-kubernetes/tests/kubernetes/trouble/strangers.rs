//! What other people have in the cluster, and what they make of what is ours: it is left alone, and said.

use std::sync::Arc;

use coracle_engine::conformance::until;
use coracle_engine::{Engine as _, EngineError};
use coracle_model::name::ProjectName;
use coracle_model::pod::PodPhase;
use coracle_model::workload::ObservedPod;

use super::{Bed, web};
use crate::ground::{IMAGE, LONG};

/// A namespace that somebody else made is not touched, and named.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_somebody_else_is_left_alone() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    let namespace = bed.platform.namespace("default");
    let look = || {
        bed.platform
            .kubectl(&["get", "namespace", &namespace, "-o", "json"])
    };
    bed.platform.kubectl(&["create", "namespace", &namespace]);
    let before = look();
    let project = ProjectName::default_project();
    let error = bed.engine.ensure_project(&project).await;
    let named = matches!(&error, Err(EngineError::Foreign(what)) if what.contains(&namespace));
    assert!(named, "{error:?}");
    bed.engine.apply(web(1)).await.unwrap();
    let pod = bed
        .says(&web(1), &[&namespace, "not this platform's"])
        .await;
    assert_eq!(pod.status.phase, PodPhase::Failed);
    bed.engine.remove_project(&project).await.unwrap();
    assert_eq!(before, look());
    bed.platform
        .kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
}

/// What somebody else put into a project's namespace outlives the project.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_somebody_else_in_our_namespace_stay() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    bed.engine.apply(web(1)).await.unwrap();
    bed.ready(&web(1), 1).await;
    bed.within(&format!(
        "run stranger --image {IMAGE} --restart=Never --command -- sleep 1000"
    ));
    bed.engine
        .remove_project(&ProjectName::default_project())
        .await
        .unwrap();
    until(&*bed.engine, "our pods are gone", LONG, |seen| {
        seen.pods.is_empty().then_some(())
    })
    .await;
    let deleted = bed.within("get pod stranger -o jsonpath={.metadata.deletionTimestamp}");
    assert_eq!(deleted, "", "nobody deletes it");
}

/// A number that somebody else has set is shown, and not fought over.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_somebody_else_is_shown_and_left() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    bed.engine.apply(web(1)).await.unwrap();
    bed.ready(&web(1), 1).await;
    bed.within("scale deployment web-g1 --replicas=2");
    let pods = bed.ready(&web(1), 2).await;
    let told = |pod: &ObservedPod| {
        let reason = pod.status.reason.as_deref();
        reason.unwrap_or_default().contains("kubectl")
    };
    assert!(pods.iter().all(told), "{pods:?}");
    // Neither the same wish nor another number takes it back; removing does.
    bed.engine.apply(web(1)).await.unwrap();
    bed.engine.apply(web(3)).await.unwrap();
    bed.says(&web(3), &["kubectl"]).await;
    bed.ready(&web(3), 2).await;
    // Handed back, it is ours again.
    bed.within("scale deployment web-g1 --replicas=1");
    let back = bed.ready(&web(3), 3).await;
    assert_eq!(back[0].status.reason, None);
    bed.within("scale deployment web-g1 --replicas=4");
    bed.ready(&web(3), 4).await;
    bed.engine.remove(&web(1).id).await.unwrap();
    until(&*bed.engine, "it is gone", LONG, |seen| {
        seen.pods.is_empty().then_some(())
    })
    .await;
}

/// What somebody else wrote into the pods' template is shown and stays, also when the platform changes its own part.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_changed_by_somebody_else_is_shown_and_left() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    bed.engine.apply(web(1)).await.unwrap();
    bed.ready(&web(1), 1).await;
    bed.within("set env deployment/web-g1 STRANGE=yes");
    bed.says(&web(1), &["kubectl", "changed deployment web-g1"])
        .await;
    bed.engine.apply(web(2)).await.unwrap();
    let pods = bed.ready(&web(2), 2).await;
    for pod in pods {
        let strange = format!(
            "get pod {} -o jsonpath={{.spec.containers[0].env[?(@.name==\"STRANGE\")].value}}",
            pod.id.name
        );
        assert_eq!(bed.within(&strange), "yes");
    }
}

/// Where the cluster itself sees two who want the same field, that is said with the other's name, and the field stays
/// as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_shown_and_not_forced() {
    const OTHER: &str = r#"{"spec":{"selector":{"name.coracle.io/web":"no"}}}"#;
    const OURS: &str = r#"{"spec":{"selector":{"name.coracle.io/web":"yes"}}}"#;
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    bed.engine.apply(web(1)).await.unwrap();
    bed.ready(&web(1), 1).await;
    // The Service comes behind the pods.
    bed.within("wait deployment/web-g1 --for=condition=Available --timeout=240s");
    bed.service("web").await;
    bed.within(&format!("patch service web --type=merge -p {OTHER}"));
    bed.life.token().cancel();
    // What stands beside the pods is looked after once in a life.
    let next = Bed::on(Arc::clone(&bed.platform), |_| {}).await;
    next.engine.apply(web(1)).await.unwrap();
    let words = ["somebody else changed it", "kubectl", ".spec.selector"];
    let pod = next.says(&web(1), &words).await;
    assert_eq!(pod.status.phase, PodPhase::Ready, "it serves on");
    let selector = "get service web -o jsonpath={.spec.selector}";
    assert_eq!(
        next.within(selector),
        r#"{"name.coracle.io/web":"no"}"#,
        "nothing was forced"
    );
    // Handed back, nobody has to ask again.
    next.within(&format!("patch service web --type=merge -p {OURS}"));
    next.pod("nothing is in the way any more", &web(1), |pod| {
        pod.status.phase == PodPhase::Ready && pod.status.reason.is_none()
    })
    .await;
}

/// What a Service of somebody else is called cannot be a name of ours: it is left alone, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_somebody_else_is_left_alone() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    bed.engine
        .ensure_project(&ProjectName::default_project())
        .await
        .unwrap();
    bed.within("create service clusterip web --tcp=1:1");
    let before = bed.within("get service web -o json");
    bed.engine.apply(web(1)).await.unwrap();
    let namespace = bed.platform.namespace("default");
    bed.says(&web(1), &["service", &namespace, "not this platform's"])
        .await;
    bed.ready(&web(1), 1).await;
    assert_eq!(before, bed.within("get service web -o json"));
}
