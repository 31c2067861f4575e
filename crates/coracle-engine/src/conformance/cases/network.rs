//! Names, addresses, projects, and what is not the platform's.

use std::collections::BTreeSet;

use coracle_model::name::ProjectName;
use coracle_model::pod::PodPhase;
use coracle_model::workload::Workload;

use crate::conformance::bench::{Bench, Given as _};
use crate::engine::{Restarts, Support};

fn other_project(workload: Workload) -> Workload {
    let mut workload = workload;
    workload.id.project = ProjectName::new("other").given("a project");
    workload.template.names = vec![workload.id.name.to_string()];
    workload
}

/// A pod is found under its own name and under its workload's names.
pub async fn names_lead_to_pods(t: &Bench) {
    let web = t.running(&t.serving("web", 1)).await.remove(0).id;
    let client = t
        .running(&t.shell("client", "sleep 1000"))
        .await
        .remove(0)
        .id;
    let mut names = vec!["web"];
    if t.engine().capabilities().own_names == Support::Yes {
        names.extend(["web.default.internal", web.name.as_str()]);
    }
    for name in names {
        let line = format!("timeout 20 wget -q -O - http://{name}:8080/cgi-bin/whoami");
        let (status, who) = t.exec(&client, &line).await;
        assert_eq!((status, who.trim()), (0, web.name.as_str()), "under {name}");
    }
    let unknown = "timeout 20 wget -q -O - http://nobody:8080/";
    assert_ne!(t.exec(&client, unknown).await.0, 0);
}

/// The same name in another project is another pod; another project's names are unknown.
pub async fn projects_are_apart(t: &Bench) {
    let web = t.running(&t.serving("web", 1)).await.remove(0);
    let twin = other_project(t.serving("web", 1));
    let twin = t.running(&twin).await.remove(0);
    let alone = other_project(t.serving("alone", 1));
    t.running(&alone).await;
    let client = t
        .running(&t.shell("client", "sleep 1000"))
        .await
        .remove(0)
        .id;
    // Packets that are dropped, not refused, are waited for in vain: 5 s of that are enough.
    let fetch = async |host: &str| {
        let line = format!("timeout 5 wget -q -O - http://{host}:8080/cgi-bin/whoami");
        t.exec(&client, &line).await
    };
    let line = "timeout 20 wget -q -O - http://web:8080/cgi-bin/whoami";
    assert_eq!(t.exec(&client, line).await.1.trim(), web.id.name.as_str());
    assert_ne!(fetch("alone").await.0, 0, "a name of another project");
    if t.world().isolation() == Support::Yes {
        let address = twin.status.address.given("an address").to_string();
        assert_ne!(fetch(&address).await.0, 0, "an address of another project");
    }
    t.engine()
        .remove_project(&twin.id.project)
        .await
        .given("remove_project");
    t.gone(&alone.id).await;
    t.ready(&t.serving("web", 1)).await;
}

/// Pods and network are gone, also those of workloads that are still wished; the rest stays.
pub async fn a_removed_project_leaves_nothing(t: &Bench) {
    let project = ProjectName::new("other").given("a project");
    let engine = t.engine();
    engine
        .remove_project(&project)
        .await
        .given("remove what is not there");
    engine
        .ensure_project(&project)
        .await
        .given("ensure_project");
    engine
        .ensure_project(&project)
        .await
        .given("ensure_project again");
    let web = other_project(t.serving("web", 2));
    t.running(&web).await;
    t.running(&t.serving("web", 1)).await;
    engine
        .remove_project(&project)
        .await
        .given("remove_project");
    t.gone(&web.id).await;
    engine
        .remove_project(&project)
        .await
        .given("remove_project again");
    let left = t.world().leftovers().await;
    let of_project: Vec<&String> = left.iter().filter(|name| name.contains("other")).collect();
    assert!(of_project.is_empty(), "{of_project:?}");
    t.ready(&t.serving("web", 1)).await;
    t.running(&web).await;
    engine
        .remove_project(&project)
        .await
        .given("remove_project");
    t.gone(&web.id).await;
}

/// Law 7; each watcher also checks it at every event.
pub async fn addresses_are_unique_and_stay(t: &Bench) {
    let web = t.serving("web", 3);
    let twin = other_project(t.serving("web", 1));
    let mut watcher = t.watcher();
    let mut before = t.running(&web).await;
    before.extend(t.running(&twin).await);
    let addresses: BTreeSet<_> = before.iter().map(|pod| pod.status.address).collect();
    assert_eq!(addresses.len(), before.len());
    assert!(!addresses.contains(&None));
    t.world().kill(&before[0].id).await;
    let in_place = t.engine().capabilities().restarts == Restarts::InPlace;
    if in_place {
        t.engine().restart(&before[1].id).await.given("restart");
    }
    t.world().vanish(&before[2].id).await;
    let settled = watcher
        .until("all are ready again", |seen| {
            let pods = seen.all_in(&web.id, 3, PodPhase::Ready)?;
            let known = |n: usize| pods.iter().find(|pod| pod.id == before[n].id);
            let killed = known(0)?.status.restarts > 0;
            let restarted = known(1)?.status.started > before[1].status.started;
            (killed && restarted == in_place && known(2).is_none()).then_some(pods)
        })
        .await;
    for old in &before[..2] {
        let now = settled.iter().find(|pod| pod.id == old.id).given("the pod");
        assert_eq!(now.status.address, old.status.address);
    }
}

/// Law 6.
pub async fn what_is_foreign_is_left_alone(t: &Bench) {
    let Some(foreign) = t.world().foreign().await else {
        return;
    };
    let web = t.serving("web", 2);
    t.running(&web).await;
    t.begin_anew().await;
    let pods = t
        .until("all was told", |seen| Some(seen.pods.clone()))
        .await;
    let ours = pods.values().all(|pod| pod.workload == web.id);
    assert!(
        ours,
        "only the platform's own is reported: {:?}",
        pods.keys()
    );
    t.engine().remove(&web.id).await.given("remove");
    t.gone(&web.id).await;
    let project = ProjectName::default_project();
    t.engine()
        .remove_project(&project)
        .await
        .given("remove_project");
    foreign.untouched().await.given("what is foreign");
}
