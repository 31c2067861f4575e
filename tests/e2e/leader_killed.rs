//! Three control planes on one etcd: whichever leads is killed, paused and stopped, and it makes no difference.
//!
//! Theory of operation: while somebody deploys, scales and deletes by any of them, and users ask a steady app, the one
//! that leads is killed with SIGKILL. Another must lead within the lease, everything that was asked for must come true
//! once, and Docker have exactly what the API says. `CORACLE_E2E_LEADER_KILLS` says how often, `CORACLE_E2E_SEED` repeats
//! a run's choices.

use std::time::{Duration, Instant};

use coracle_e2e::{Fleet, LONG, Load, TEST_IMAGE, until_ok};
use reqwest::Method;
use serde_json::json;

const KILLS: u64 = 5;
const LEASE: u64 = 5;
/// A kill comes within this time.
const WITHIN: Duration = Duration::from_millis(2500);
const APPS: [&str; 3] = ["ant", "bee", "cat"];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Asks for something new by any control plane, again and again. Any answer will do, and so will none.
async fn be_busy(fleet: &Fleet, chance: &mut fastrand::Rng, done: &mut u64) {
    loop {
        let api = fleet.members[chance.usize(..fleet.members.len())]
            .api()
            .await;
        let at = format!(
            "/projects/default/apps/{}",
            APPS[chance.usize(..APPS.len())]
        );
        let answer = match chance.u32(0..100) {
            0..45 => {
                let config = json!({"processes": {"web": {"replicas": chance.u32(1..=2)}}, "env": {"VERSION": chance.u32(..).to_string()}});
                let body = json!({"image": TEST_IMAGE, "config": config});
                let at = format!("{at}/releases?create=true");
                api.send(Method::POST, &at, Some(&body)).await
            }
            45..75 => {
                let body = json!({"processes": {"web": chance.u32(0..=3)}});
                api.send(Method::PUT, &format!("{at}/scale"), Some(&body))
                    .await
            }
            _ => api.send(Method::DELETE, &at, None).await,
        };
        if answer.is_ok_and(|answer| (200..300).contains(&answer.status)) {
            *done += 1;
        }
        let breath = Duration::from_millis(chance.u64(0..300));
        tokio::time::sleep(breath).await;
    }
}

async fn deploy_steady(fleet: &Fleet) -> Load {
    let api = fleet.members[0].api().await;
    let body = json!({"image": TEST_IMAGE, "config": {"processes": {"web": {"replicas": 1}}}});
    api.post("/projects/default/apps/steady/releases?create=true", &body)
        .await
        .ok();
    fleet.members[0]
        .serves("steady.localhost", "/", 200, "")
        .await;
    let load = Load::start(fleet.members[0].http(), "steady.localhost", "/", 20, 100);
    load.more(20).await;
    // Logged in before anything is killed: the first question logs in, and that one must be answered.
    for member in &fleet.members {
        member.api().await;
    }
    load
}

async fn delete_all(fleet: &Fleet) {
    let api = fleet.members[0].api().await;
    for app in api.list("/projects/default/apps").await.unwrap() {
        let name = app["metadata"]["name"].as_str().unwrap();
        api.delete(&format!("/projects/default/apps/{name}"))
            .await
            .ok();
    }
    fleet.members[0].nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_is_followed_and_nothing_is_doubled_or_leaked() {
    let kills = number("CORACLE_E2E_LEADER_KILLS").unwrap_or(KILLS);
    let seed = number("CORACLE_E2E_SEED").unwrap_or_else(|| fastrand::u64(..));
    let Some(mut fleet) = Fleet::start(3, LEASE).await else {
        return;
    };
    eprintln!("{kills} kills, CORACLE_E2E_SEED={seed}");
    let load = deploy_steady(&fleet).await;
    let mut chance = fastrand::Rng::with_seed(seed);
    let (mut done, mut elections, mut settled) = (0, Vec::new(), Vec::new());
    for kill in 1..=kills {
        let (leader, elected, _) = fleet.leads_after(0).await;
        let within = u64::try_from(WITHIN.as_millis()).unwrap();
        // The moment is the test's input, not something that is waited for.
        let moment = Duration::from_millis(chance.u64(1..=within));
        let mut person = chance.fork();
        tokio::select! {
            () = be_busy(&fleet, &mut person, &mut done) => unreachable!("it goes on for ever"),
            () = tokio::time::sleep(moment) => {}
        }
        fleet.kill(leader).await;
        let killed = Instant::now();
        let (next, _, _) = fleet.leads_after(elected).await;
        elections.push(killed.elapsed());
        assert_ne!(next, leader, "a dead one does not lead");
        // By one that follows: what it tells is what the leader does.
        let follower = (0..3).find(|n| *n != leader && *n != next).unwrap();
        fleet.members[follower].settled().await;
        settled.push(killed.elapsed());
        assert_eq!(load.failed(), 0, "after kill {kill}");
        fleet.run(leader);
        fleet.readable(leader).await;
    }
    let mean = |all: &[Duration]| {
        all.iter().sum::<Duration>().as_millis() / u128::try_from(all.len().max(1)).unwrap()
    };
    let most = |all: &[Duration]| all.iter().max().map_or(0, Duration::as_millis);
    eprintln!(
        "{done} changes were taken up; lease {LEASE} s; from a kill to the next leader {} ms on average, {} ms at most; to settled {} and {} ms; memory {:?} KiB",
        mean(&elections),
        most(&elections),
        mean(&settled),
        most(&settled),
        fleet.memory()
    );
    load.more(20).await;
    load.stop()
        .await
        .nothing_failed("a steady app, while leaders were killed");
    delete_all(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_slept_does_nothing_when_it_wakes_and_one_that_ends_hands_over() {
    let Some(mut fleet) = Fleet::start(3, 3).await else {
        return;
    };
    let load = deploy_steady(&fleet).await;
    let (leader, elected, _) = fleet.leads_after(0).await;
    let follower = (leader + 1) % 3;
    let api = fleet.members[follower].api().await;
    let body = json!({"image": TEST_IMAGE, "config": {"processes": {"web": {"replicas": 2}}}});
    let deploy = api.post("/projects/default/apps/ant/releases?create=true", &body);
    deploy.await.ok();
    // In the middle of the deploy.
    fleet.pause(leader);
    let (next, second, _) = fleet.leads_after(elected).await;
    assert_ne!(next, leader);
    fleet.members[follower].settled().await;
    // What it was about to do for this app must not be done any more.
    api.delete("/projects/default/apps/ant").await.ok();
    fleet.members[follower].settled().await;
    fleet.go_on(leader);
    // It finds that it leads no more, and begins anew as one that follows.
    fleet.readable(leader).await;
    let system = || async {
        let system = fleet.members[leader].api().await.get("/system").await.ok();
        let controllers = system["controllers"].as_object().map(serde_json::Map::len);
        if controllers == Some(0) {
            Ok(())
        } else {
            Err(format!("{controllers:?}"))
        }
    };
    until_ok("it to run no controllers", LONG, system).await;
    assert_eq!(
        fleet.leader().await,
        Some((next, second)),
        "it does not take over"
    );
    fleet.members[leader].settled().await;

    // One that is asked to end hands over at once, and not only when its lease is over.
    fleet.stop(next).await;
    let (third, _, took) = fleet.leads_after(second).await;
    assert_ne!(third, next);
    eprintln!(
        "from the end of a leader to the next {} ms",
        took.as_millis()
    );
    let other = (0..3)
        .find(|number| *number != next && *number != third)
        .unwrap();
    fleet.members[other].settled().await;
    fleet.run(next);
    fleet.readable(next).await;
    load.more(20).await;
    load.stop()
        .await
        .nothing_failed("a steady app, while leaders changed");
    delete_all(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_with_another_key_is_refused() {
    let Some(fleet) = Fleet::start(1, 3).await else {
        return;
    };
    let refused = fleet.stranger().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for words in ["is not the one that the secrets", "CORACLE_SECRET_KEY"] {
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
}
