//! etcd goes away, fills up, or lets nobody in: applications serve on, every control plane says what is wrong, and goes
//! on by itself once that is mended.

use std::time::Duration;

use coracle_e2e::{
    EtcdServer, Fleet, LONG, Load, ONE_POD, Options, Part, Platform, TEST_IMAGE, until, until_ok,
};
use coracle_store::{Expected, Put, Store as _, StoreError};
use reqwest::Method;
use serde_json::{Value, json};

/// Seconds of a leader's lease.
const LEASE: u64 = 4;
const USER: &str = "coracle";
const PASSWORD: &str = "first-password";

/// A steady app, and users who ask it all the time.
async fn steady(fleet: &Fleet) -> Load {
    let api = fleet.members[0].api().await;
    let body = json!({"image": TEST_IMAGE, "config": {"processes": {"web": {"replicas": 2}}}});
    let at = "/projects/default/apps/steady/releases?create=true";
    api.post(at, &body).await.ok();
    let member = &fleet.members[0];
    member.serves("steady.localhost", "/", 200, "").await;
    member.settled().await;
    for member in &fleet.members {
        member.api().await;
    }
    let load = Load::start(member.http(), "steady.localhost", "/", ONE_POD, 50);
    load.more(20).await;
    load
}

async fn deploys(fleet: &Fleet, number: usize, app: &str) {
    let member = &fleet.members[number];
    let body = json!({"image": TEST_IMAGE, "config": {"processes": {"web": {"replicas": 1}}}});
    let at = format!("/projects/default/apps/{app}/releases?create=true");
    member.api().await.post(&at, &body).await.ok();
    let host = format!("{app}.localhost");
    member.serves(&host, "/", 200, "").await;
}

async fn ends(fleet: &Fleet, load: Load, what: &str) {
    load.more(20).await;
    load.stop().await.nothing_failed(what);
    let api = fleet.members[0].api().await;
    for app in api.list("/projects/default/apps").await.unwrap() {
        let name = app["metadata"]["name"].as_str().unwrap();
        let at = format!("/projects/default/apps/{name}");
        api.delete(&at).await.ok();
    }
    fleet.members[0].nothing_left().await;
}

fn hint_and_detail(problem: &Value) -> String {
    format!("{} {}", problem["detail"], problem["hint"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_is_gone_for_longer_than_the_lease_costs_no_application_a_request() {
    let Some(mut fleet) = Fleet::start(3, LEASE).await else {
        return;
    };
    let load = steady(&fleet).await;
    let (_, elected, _) = fleet.leads_after(0).await;
    let before = fleet.containers();
    assert_eq!(before.len(), 2);
    // In the middle of something.
    let body = json!({"image": TEST_IMAGE, "config": {"processes": {"web": {"replicas": 2}}}});
    let at = "/projects/default/apps/ant/releases?create=true";
    fleet.members[1].api().await.post(at, &body).await.ok();
    let url = fleet.etcd.url().to_owned();
    fleet.etcd.kill().await;
    fleet
        .all_say(
            "every control plane to say that etcd is away",
            |status, said| {
                // Where it is is no business of strangers.
                assert!(!said.contains(&url), "{said}");
                status == 503 && said.contains("the store does not answer")
            },
        )
        .await;
    for member in &fleet.members {
        // Nobody answers for a moment while the one that led is replaced.
        until_ok("it to refuse with the reason", LONG, || async {
            let api = member.api().await;
            let answer = api.send(Method::GET, "/projects", None).await?;
            if answer.status == 503 {
                assert_eq!(answer.problem(503), "store_unavailable");
                // Whose credentials cannot be looked at is a stranger.
                let said = hint_and_detail(&answer.body);
                assert!(!said.contains(&url), "{said}");
                return Ok(());
            }
            Err(format!("{answer:?}"))
        })
        .await;
    }
    // Twice as long as it takes the one that led to give up: the time is the test's input.
    tokio::time::sleep(Duration::from_secs(2 * LEASE)).await;
    fleet
        .all_say("it to be said still", |status, said| {
            status == 503 && said.contains("the store does not answer")
        })
        .await;
    for member in &fleet.members {
        assert!(member.lives(Part::Serve), "nobody ended");
    }
    load.more(20).await;
    fleet.etcd.run().await;
    fleet
        .all_say("every control plane to be ready", |status, said| {
            (status, said) == (200, "ready\n")
        })
        .await;
    let (_, _, took) = fleet.leads_after(elected).await;
    eprintln!("etcd is back: somebody leads after {} ms", took.as_millis());
    for member in &fleet.members {
        member.settled().await;
    }
    let api = fleet.members[2].api().await;
    let releases = api.list("/projects/default/apps/ant/releases").await;
    assert_eq!(
        releases.unwrap().len(),
        1,
        "what was asked for once is there once"
    );
    let after = fleet.containers();
    let untouched = before.iter().all(|one| after.contains(one));
    assert!(untouched, "{before:?} became {after:?}");
    assert_eq!(after.len(), 4, "two of each: {after:?}");
    deploys(&fleet, 0, "bee").await;
    ends(&fleet, load, "a steady app, while etcd was away").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_started_before_its_etcd_waits_and_says_so() {
    let Some(mut etcd) = EtcdServer::prepare(&[]) else {
        return;
    };
    let mut arguments = etcd.arguments();
    arguments.extend(["--leader-lease".to_owned(), LEASE.to_string()]);
    let platform = Platform::prepare(Options {
        arguments,
        ..Options::default()
    });
    // Asked to end while it waits, it ends.
    let mut process = platform.start_control_plane(&etcd.arguments());
    let says_why = async || {
        until_ok("it to say what it waits for", LONG, || async {
            match platform.ask_control_plane("/readyz").await {
                Ok(page)
                    if page.status == 503 && page.body.contains("the store does not answer") =>
                {
                    assert!(!page.body.contains(etcd.url()), "{page:?}");
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    };
    says_why().await;
    let health = platform.ask_control_plane("/healthz").await.unwrap();
    assert_eq!(health.status, 200, "it lives");
    platform.ask_to_end(Part::Serve);
    let ended = process.wait().await.unwrap();
    assert!(ended.success(), "{ended}");

    let url = etcd.url().to_owned();
    let (up, ()) = tokio::join!(platform.try_up(), async {
        until("the platform to be started", LONG, || async {
            platform.lives(Part::Serve)
        })
        .await;
        until_ok("it to say what it waits for", LONG, || async {
            match platform.ask_control_plane("/readyz").await {
                Ok(page) if page.status == 503 && page.body.contains("the store") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        etcd.run().await;
    });
    up.ok();
    // What cleans up looks for the platform's id in its data directory, and it is in etcd.
    let record = etcd.store("/coracle/").await.get("/system/platform").await;
    let record: Value = serde_json::from_slice(&record.unwrap().unwrap().value).unwrap();
    let id = record["object"]["id"].as_str().unwrap();
    std::fs::write(platform.data().join("platform.id"), id).unwrap();
    for words in ["the control plane waits: ", "etcd does not answer at", &url] {
        assert!(up.stderr.contains(words), "{up}");
    }
    assert!(up.stderr.contains("the platform is ready\n"), "{up}");
    let body = json!({"image": TEST_IMAGE, "config": {"processes": {"web": {"replicas": 1}}}});
    let at = "/projects/default/apps/ant/releases?create=true";
    platform.api().await.post(at, &body).await.ok();
    platform.serves("ant.localhost", "/", 200, "").await;
    let doctor = platform.run_in_data_dir(&["doctor"]).await;
    assert!(doctor.ok().contains("leads"), "{doctor}");
    etcd.kill().await;
    let doctor = platform.run_in_data_dir(&["doctor"]).await;
    assert!(
        doctor.stdout.contains("etcd does not answer at"),
        "{doctor}"
    );
    platform.serves("ant.localhost", "/", 200, "").await;
    platform.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_is_full_is_told_with_what_to_do_and_somebody_leads_once_there_is_room() {
    let Some(etcd) = EtcdServer::start(&["--quota-backend-bytes=4194304"]).await else {
        return;
    };
    let mut fleet = Fleet::start_on(etcd, 2, LEASE, &[]).await;
    let load = steady(&fleet).await;
    let others = fleet.etcd.store("/others/").await;
    loop {
        match others.put(Put::new("/big", vec![7; 512 * 1024])).await {
            Ok(_) => {}
            Err(StoreError::OutOfSpace { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    let full = |store: &Value| {
        let reason = store["reason"].as_str().unwrap_or_default();
        store["writable"] == false && reason.contains("NOSPACE")
    };
    let what = "every control plane to say that etcd is full";
    fleet.all_tell_of_the_store(what, full).await;
    fleet
        .all_say("each to be ready: it can be read", |status, said| {
            (status, said) == (200, "ready\n")
        })
        .await;
    let follower = 1 - fleet.leads_after(0).await.0;
    for member in &fleet.members {
        let api = member.api().await;
        let body = json!({"image": TEST_IMAGE});
        let at = "/projects/default/apps/ant/releases?create=true";
        let answer = api.post(at, &body).await;
        assert_eq!(answer.problem(507), "disk_full");
        let said = hint_and_detail(&answer.body);
        for words in ["etcdctl defrag", "alarm disarm", "nothing was changed"] {
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(
            api.get("/projects").await.status,
            200,
            "what there is can be read"
        );
    }
    // Nobody can be elected, and nobody starts to give up over it.
    let (leader, elected, _) = fleet.leads_after(0).await;
    fleet.kill(leader).await;
    fleet.run(leader);
    fleet.readable(leader).await;
    load.more(20).await;
    assert!(fleet.members[follower].lives(Part::Serve));

    others.delete("/big", Expected::Any).await.unwrap();
    let now = others.revision().await.unwrap();
    others.compact(now + 1).await.unwrap();
    fleet.etcd.control("defrag").await;
    fleet.etcd.control("alarm disarm").await;
    fleet
        .all_say("every control plane to be ready", |status, said| {
            (status, said) == (200, "ready\n")
        })
        .await;
    fleet.leads_after(elected).await;
    deploys(&fleet, follower, "ant").await;
    fleet.members[leader].settled().await;
    ends(&fleet, load, "a steady app, while etcd was full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_lets_nobody_in_is_told_with_what_to_do_and_is_tried_again() {
    let Some(mut etcd) = EtcdServer::start(&["--auth-token-ttl=1"]).await else {
        return;
    };
    etcd.lock(USER, PASSWORD).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let write = |password: &str| std::fs::write(&file, format!("{password}\n")).unwrap();
    write("wrong");
    let mut flags = ["--etcd-user", USER, "--etcd-password-file"]
        .map(str::to_owned)
        .to_vec();
    flags.push(file.display().to_string());

    // Whoever starts it learns at once what is wrong.
    let mut arguments = etcd.arguments();
    arguments.extend_from_slice(&flags);
    let wrong = Platform::prepare(Options {
        arguments,
        ..Options::default()
    });
    let refused = wrong.try_up().await;
    refused.refused_with(1, &["etcd does not let user coracle in", "the password"]);
    etcd.control("role revoke-permission platform /coracle/ --prefix=true")
        .await;
    etcd.control("role grant-permission platform read /coracle/ --prefix=true")
        .await;
    write(PASSWORD);
    let refused = wrong.try_up().await;
    refused.refused_with(
        1,
        &["etcdctl role grant-permission ROLE readwrite /coracle/"],
    );
    drop(wrong);

    let write_again = "role grant-permission platform readwrite /coracle/ --prefix=true";
    etcd.control(write_again).await;
    let fleet = Fleet::start_on(etcd, 2, LEASE, &flags).await;
    let load = steady(&fleet).await;
    let (leader, elected, _) = fleet.leads_after(0).await;
    let ready = |status: u16, said: &str| (status, said) == (200, "ready\n");

    // May read and not write, from one moment to the next.
    let only_read = "role grant-permission platform read /coracle/ --prefix=true";
    fleet.etcd.control(only_read).await;
    let what = "every control plane to say that it may not write";
    let not_writable = |store: &Value| store["reason"].to_string().contains("readwrite /coracle/");
    fleet.all_tell_of_the_store(what, not_writable).await;
    let answer = fleet.members[1 - leader].api().await;
    let answer = answer
        .post(
            "/projects",
            &json!({"metadata": {"name": "zoo"}, "spec": {}}),
        )
        .await;
    assert_eq!(answer.problem(503), "store_unavailable");
    assert!(
        hint_and_detail(&answer.body).contains("grant-permission"),
        "{answer:?}"
    );
    fleet.etcd.control(write_again).await;
    fleet
        .all_say("every control plane to be ready", ready)
        .await;

    // Another password: whoever leads loses its lease, and nobody else can lead.
    fleet.etcd.control(&format!("user delete {USER}")).await;
    fleet
        .all_say(
            "every control plane to say that it is not let in",
            |status, said| {
                assert!(!said.contains(USER), "{said}");
                status == 503 && said.contains("the store does not answer")
            },
        )
        .await;
    load.more(20).await;
    // Mended in the file and in etcd: by those that wait, and by those that follow.
    write("second-password");
    fleet
        .etcd
        .control(&format!("user add {USER}:second-password"))
        .await;
    fleet
        .etcd
        .control(&format!("user grant-role {USER} platform"))
        .await;
    fleet
        .all_say("every control plane to be ready", ready)
        .await;
    fleet.leads_after(elected).await;
    deploys(&fleet, 0, "ant").await;
    fleet.members[1].settled().await;
    ends(&fleet, load, "a steady app, while etcd let nobody in").await;
}
