//! A leader whose credentials etcd refuses gives up, another leads, and it takes part again once it is let in.

use std::time::Instant;

use coracle_e2e::{EtcdServer, Fleet, LONG, Load, ONE_POD, TEST_IMAGE, until_ok};
use serde_json::json;

/// Seconds of a leader's lease.
const LEASE: u64 = 4;
/// Each control plane has a user and a role of its own.
const USERS: [&str; 2] = ["ann", "bob"];
const ROLES: [&str; 2] = ["platform", "second"];

/// Two control planes, each with its own user in etcd.
async fn two() -> Option<Fleet> {
    let mut etcd = EtcdServer::start(&["--auth-token-ttl=1"]).await?;
    let (one, other) = (USERS[0], USERS[1]);
    for line in [
        format!("role add {}", ROLES[1]),
        format!(
            "role grant-permission {} readwrite /coracle/ --prefix=true",
            ROLES[1]
        ),
        format!("user add {other}:{other}"),
        format!("user grant-role {other} {}", ROLES[1]),
    ] {
        etcd.control(&line).await;
    }
    etcd.lock(one, one).await;
    let folder = tempfile::tempdir().unwrap();
    let flags = USERS.map(|user| {
        let file = folder.path().join(user);
        std::fs::write(&file, user).unwrap();
        let file = file.display().to_string();
        ["--etcd-user", user, "--etcd-password-file", &file]
            .map(str::to_owned)
            .to_vec()
    });
    // It is read again by whoever begins anew.
    let _kept = folder.keep();
    Some(Fleet::start_each(etcd, LEASE, &flags).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_may_not_write_gives_up_and_takes_part_again_once_it_may() {
    let Some(mut fleet) = two().await else {
        return;
    };
    let body = json!({"image": TEST_IMAGE, "config": {"processes": {"web": {"replicas": 1}}}});
    let at = |app: &str| format!("/projects/default/apps/{app}/releases?create=true");
    fleet.members[0]
        .api()
        .await
        .post(&at("steady"), &body)
        .await
        .ok();
    fleet.members[0]
        .serves("steady.localhost", "/", 200, "")
        .await;
    for member in &fleet.members {
        member.api().await;
    }
    let http = fleet.members[0].http();
    let load = Load::start(http, "steady.localhost", "/", ONE_POD, 50);
    load.more(20).await;

    // It may read on, and etcd keeps its lease alive: that takes no right.
    let (leader, elected, _) = fleet.leads_after(0).await;
    let other = 1 - leader;
    let role = ROLES[leader];
    fleet
        .etcd
        .control(&format!(
            "role grant-permission {role} read /coracle/ --prefix=true"
        ))
        .await;
    let refused = Instant::now();
    let api = fleet.members[other].api().await;
    api.post(&at("ant"), &body).await.ok();
    let (next, second, _) = fleet.leads_after(elected).await;
    assert_eq!(next, other, "who may write leads");
    eprintln!(
        "lease {LEASE} s: another leads {} ms after the last one was refused",
        refused.elapsed().as_millis()
    );
    fleet.members[other]
        .serves("ant.localhost", "/", 200, "")
        .await;
    fleet.members[other].settled().await;

    // It waits, and takes part again once it may.
    until_ok("the one that led to wait", LONG, || async {
        match fleet.readyz(leader).await {
            (503, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    fleet
        .etcd
        .control(&format!(
            "role grant-permission {role} readwrite /coracle/ --prefix=true"
        ))
        .await;
    fleet.readable(leader).await;
    fleet.stop(other).await;
    let (third, _, _) = fleet.leads_after(second).await;
    assert_eq!(third, leader);
    fleet.members[leader].settled().await;
    load.more(20).await;
    load.stop()
        .await
        .nothing_failed("a steady app, while a leader was refused");
    let api = fleet.members[leader].api().await;
    for app in ["steady", "ant"] {
        let at = format!("/projects/default/apps/{app}");
        api.delete(&at).await.ok();
    }
    fleet.members[leader].nothing_left().await;
}
