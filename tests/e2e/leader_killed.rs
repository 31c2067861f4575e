//! Three control planes on one etcd: whichever leads is killed, paused and stopped, and it makes no difference.
//!
//! Theory of operation: while somebody deploys, scales and deletes by any of them, and users ask a steady app, the one
//! that leads is killed with SIGKILL. Another must lead within the lease, everything that was asked for must come true
//! once, and Docker have exactly what the API says. The releases and builds of one app, and the containers that Docker
//! made for them, are counted. `CORACLE_E2E_LEADER_KILLS` says how often, `CORACLE_E2E_SEED` repeats
//! a run's choices.

use std::time::{Duration, Instant};

use coracle_e2e::{Answer, Api, Fleet, LONG, Load, Made, ONE_POD, Source, TEST_IMAGE, until_ok};
use reqwest::Method;
use serde_json::{Value, json};

const KILLS: u64 = 5;
const LEASE: u64 = 5;
/// A kill comes within this time.
const WITHIN: Duration = Duration::from_millis(2500);
const APPS: [&str; 3] = ["ant", "bee", "cat"];
/// Never deleted and never scaled: what is asked of it is counted.
const COUNTED: &str = "dog";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Somebody who asks any control plane for something new, again and again. Any answer will do, and so will none.
struct Person {
    chance: fastrand::Rng,
    source: Source,
    version: u64,
    /// Changes that were taken up.
    done: u64,
    /// What was asked for of the app whose releases are counted: of images, and of folders that are built.
    images: Asked,
    builds: Asked,
}

/// How often something was asked for.
#[derive(Default)]
struct Asked {
    /// So often it was taken up.
    taken: u64,
    /// So often nobody said whether.
    unknown: u64,
}

impl Asked {
    /// About to ask. A request that is left when a leader is killed is one that nobody answered.
    fn ask(&mut self) {
        self.unknown += 1;
    }

    fn note(&mut self, answer: &Result<Answer, String>) {
        match answer {
            Ok(answer) if (200..300).contains(&answer.status) => {
                self.unknown -= 1;
                self.taken += 1;
            }
            Ok(answer) if answer.status < 500 => self.unknown -= 1,
            _ => {}
        }
    }

    /// Asserts that it is there as often as it was asked for.
    #[expect(clippy::print_stderr, reason = "what was counted is worth knowing")]
    fn came_true(&self, what: &str, count: u64) {
        let (taken, unknown) = (self.taken, self.unknown);
        let counted =
            format!("{what}: {taken} taken up, {unknown} without an answer, {count} there");
        eprintln!("{counted}");
        assert!(taken <= count, "some are lost: {counted}");
        assert!(count <= taken + unknown, "some are doubled: {counted}");
    }
}

impl Person {
    fn new(chance: fastrand::Rng) -> Self {
        Self {
            chance,
            source: Source::page("built"),
            version: 0,
            done: 0,
            images: Asked::default(),
            builds: Asked::default(),
        }
    }

    async fn is_busy(&mut self, fleet: &Fleet) {
        loop {
            let member = &fleet.members[self.chance.usize(..fleet.members.len())];
            self.asks(member.api().await).await;
            let breath = Duration::from_millis(self.chance.u64(0..300));
            tokio::time::sleep(breath).await;
        }
    }

    async fn asks(&mut self, api: &Api) {
        self.version += 1;
        let app = APPS[self.chance.usize(..APPS.len())];
        let at = format!("/projects/default/apps/{app}");
        let answer = match self.chance.u32(0..100) {
            0..30 => {
                let config = json!({"processes": {"web": {"replicas": self.chance.u32(1..=2)}}, "env": {"VERSION": self.version.to_string()}});
                let body = json!({"image": TEST_IMAGE, "config": config});
                let at = format!("{at}/releases?create=true");
                api.send(Method::POST, &at, Some(&body)).await
            }
            30..50 => {
                let body = json!({"processes": {"web": self.chance.u32(0..=3)}});
                let at = format!("{at}/scale");
                api.send(Method::PUT, &at, Some(&body)).await
            }
            50..65 => api.send(Method::DELETE, &at, None).await,
            65..85 => {
                let config = json!({"processes": {"web": {"replicas": 1}}, "env": {"VERSION": self.version.to_string()}});
                let body = json!({"image": TEST_IMAGE, "config": config});
                let at = format!("/projects/default/apps/{COUNTED}/releases?create=true");
                self.images.ask();
                let answer = api.send(Method::POST, &at, Some(&body)).await;
                self.images.note(&answer);
                answer
            }
            _ => {
                let page = format!("built {}\n", self.version);
                self.source.write("index.html", &page);
                let at = format!("/projects/default/apps/{COUNTED}/builds?create=true");
                self.builds.ask();
                let answer = api.upload(&at, self.source.archive()).await;
                self.builds.note(&answer);
                answer
            }
        };
        if answer.is_ok_and(|answer| (200..300).contains(&answer.status)) {
            self.done += 1;
        }
    }

    /// Asserts that everything that was asked for of the counted app is there once: by the API, and by what Docker says
    /// was made.
    #[expect(clippy::print_stderr, reason = "what was counted is worth knowing")]
    async fn was_served_once(&self, fleet: &Fleet, made: &Made) {
        let api = fleet.members[0].api().await;
        let at = format!("/projects/default/apps/{COUNTED}");
        let last = async |what: &str| {
            let all = api.list(&format!("{at}/{what}")).await.unwrap_or_default();
            let numbers = all
                .iter()
                .map(|one| one["spec"]["number"].as_u64().unwrap());
            (numbers.max().unwrap_or_default(), all)
        };
        let (builds, all) = last("builds").await;
        self.builds.came_true("builds", builds);
        // A newer one takes the place of one that still waits for its turn.
        let replaced = |build: &Value| {
            let reason = build["status"]["reason"].as_str().unwrap_or_default();
            build["status"]["phase"] == "cancelled" && reason.starts_with("replaced by ")
        };
        for build in &all {
            let phase = &build["status"]["phase"];
            assert!(phase == "succeeded" || replaced(build), "{build}");
        }
        let built = all.iter().filter(|build| !replaced(build)).count();
        let (releases, all) = last("releases").await;
        let mut origins: Vec<String> = all
            .iter()
            .filter(|release| !release["spec"]["origin"]["build"].is_null())
            .map(|release| release["spec"]["origin"].to_string())
            .collect();
        // Old ones are not kept for ever.
        let kept = u64::try_from(all.len()).unwrap() == releases;
        if kept {
            let of_images = releases - u64::try_from(origins.len()).unwrap();
            self.images.came_true("releases of images", of_images);
            assert_eq!(origins.len(), built, "one release of each build");
        }
        let count = origins.len();
        origins.sort();
        origins.dedup();
        assert_eq!(origins.len(), count, "a build made two releases");
        // One replica each, and each release made it once: whoever leads next goes on with what it finds.
        let made = made.of_app(COUNTED);
        eprintln!(
            "Docker made {} containers for {} of {releases} releases",
            made.values().sum::<usize>(),
            made.len()
        );
        let doubled: Vec<_> = made.iter().filter(|(_, count)| **count > 1).collect();
        assert!(
            doubled.is_empty(),
            "releases with more containers than one: {doubled:?}"
        );
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
    let load = Load::start(
        fleet.members[0].http(),
        "steady.localhost",
        "/",
        ONE_POD,
        100,
    );
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
    let made = fleet.members[0].docker().note_made(&fleet.members[0].id());
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut person = Person::new(chance.fork());
    let (mut elections, mut settled) = (Vec::new(), Vec::new());
    for kill in 1..=kills {
        let (leader, elected, _) = fleet.leads_after(0).await;
        let within = u64::try_from(WITHIN.as_millis()).unwrap();
        // The moment is the test's input, not something that is waited for.
        let moment = Duration::from_millis(chance.u64(1..=within));
        tokio::select! {
            () = person.is_busy(&fleet) => unreachable!("it goes on for ever"),
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
        if load.failed() > 0 {
            let what = format!("a steady app, after kill {kill}");
            load.stop().await.nothing_failed(&what);
            return;
        }
        fleet.run(leader);
        fleet.readable(leader).await;
    }
    let mean = |all: &[Duration]| {
        all.iter().sum::<Duration>().as_millis() / u128::try_from(all.len().max(1)).unwrap()
    };
    let most = |all: &[Duration]| all.iter().max().map_or(0, Duration::as_millis);
    eprintln!(
        "{} changes were taken up; lease {LEASE} s; from a kill to the next leader {} ms on average, {} ms at most; to settled {} and {} ms; memory {:?} KiB",
        person.done,
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
    person.was_served_once(&fleet, &made).await;
    delete_all(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_slept_does_nothing_when_it_wakes_and_one_that_ends_hands_over() {
    let Some(mut fleet) = Fleet::start(3, LEASE).await else {
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
    let (containers, writes) = (fleet.containers(), fleet.note_writes().await);
    fleet.go_on(leader);
    // It finds that it leads no more, and begins anew as one that follows.
    fleet.readable(leader).await;
    let system = || async {
        // While it is replaced nobody answers for a moment.
        let api = fleet.members[leader].api().await;
        let system = api.send(Method::GET, "/system", None).await?.body;
        let controllers = system["controllers"].as_object().map(serde_json::Map::len);
        if controllers == Some(0) {
            Ok(())
        } else {
            Err(format!("{controllers:?}"))
        }
    };
    until_ok("it to run no controllers", LONG, system).await;
    fleet.members[leader].settled().await;
    assert_eq!(fleet.containers(), containers, "it did nothing any more");
    // But for when a token was used last, which whoever is asked writes down.
    let mut written = writes.keys().await;
    written.retain(|key| !key.starts_with("/tokens/"));
    assert_eq!(written, Vec::<String>::new(), "it wrote nothing any more");

    // One that is asked to end hands over at once, and not only when its lease is over. On a machine that is short of
    // time another may lead by now, but not the one that slept: it would have to be elected anew.
    let (next, second, _) = fleet.leads_after(second - 1).await;
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
