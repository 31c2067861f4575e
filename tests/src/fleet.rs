//! Several control planes on one etcd and one Docker daemon, and a gateway that knows them all.
//!
//! Theory of operation: each control plane has a data directory and an address of its own, all have the etcd, the
//! shared directory and the Docker daemon. They are started in the foreground, as a service manager does, so that the
//! test can kill any of them. Who leads is what stands in etcd, read without the platform.

use std::time::Duration;

use coracle_store::{Entry, Etcd, Put, Store, WatchStream};
use futures::StreamExt as _;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Child;

use crate::command::Finished;
use crate::docker::Docker;
use crate::etcd::EtcdServer;
use crate::platform::{Options, Platform};
use crate::ports;
use crate::process::{Part, signal};
use crate::wait::{LONG, until, until_ok};
use crate::web;

/// What stands at the key is who leads.
const LEADER: &str = "/system/leader";
const PLATFORM: &str = "/system/platform";

/// Several control planes of one platform.
#[derive(Debug)]
pub struct Fleet {
    /// The control planes.
    pub members: Vec<Platform>,
    processes: Vec<Option<Child>>,
    gateway: Option<Child>,
    store: Etcd,
    /// What each is started with.
    flags: Vec<Vec<String>>,
    /// What all of them have their objects in.
    // Dropped after the processes that use it.
    pub etcd: EtcdServer,
    home: TempDir,
}

impl Fleet {
    /// Starts an etcd, so many control planes and a gateway, with a leader's lease of so many seconds. `None` where
    /// there is no etcd, which is said.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn start(size: usize, lease: u64) -> Option<Self> {
        let etcd = EtcdServer::start(&[]).await?;
        Some(Self::start_on(etcd, size, lease, &[]).await)
    }

    /// The same on an etcd that runs, with more flags for the control planes.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn start_on(etcd: EtcdServer, size: usize, lease: u64, more: &[String]) -> Self {
        Self::start_each(etcd, lease, &vec![more.to_vec(); size]).await
    }

    /// The same with more flags of its own for each control plane.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn start_each(etcd: EtcdServer, lease: u64, more: &[Vec<String>]) -> Self {
        let size = more.len();
        let home = TempDir::with_prefix("coracle-e2e-fleet.").expect("a folder can be made");
        let store = etcd.store("/coracle/").await;
        let shared = home.path().join("shared");
        let http = ports::free();
        let members = (0..size).map(|_| {
            Platform::prepare(Options {
                docker: Docker::default(),
                http,
                ..Options::default()
            })
        });
        let mut flags = etcd.arguments();
        flags.extend(["--leader-lease".to_owned(), lease.to_string()]);
        flags.extend(["--shared-dir".to_owned(), shared.display().to_string()]);
        let with = |more: &Vec<String>| [flags.as_slice(), more].concat();
        let flags = more.iter().map(with).collect();
        let mut fleet = Self {
            members: members.collect(),
            processes: (0..size).map(|_| None).collect(),
            gateway: None,
            store,
            flags,
            etcd,
            home,
        };
        for number in 0..size {
            fleet.run(number);
        }
        for member in &fleet.members {
            member.answers().await;
        }
        fleet.note_id().await;
        let urls: Vec<String> = fleet
            .members
            .iter()
            .map(|member| format!("http://{}", member.listen()))
            .collect();
        let token = shared.join("keys/gateway.token");
        let gateway = fleet.members[0].start_gateway_for(&urls, &token);
        fleet.gateway = Some(gateway);
        fleet
    }

    /// Starts a control plane (again).
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&mut self, number: usize) {
        let child = self.members[number].start_control_plane(&self.flags[number]);
        self.processes[number] = Some(child);
    }

    /// The platform's id is in etcd; what cleans up looks for it in a data directory.
    async fn note_id(&self) {
        let entry = self.store.get(PLATFORM).await.expect("etcd answers");
        let record = json(&entry.expect("a platform that was started has an id"));
        let id = record["object"]["id"].as_str().expect("an id is text");
        for member in &self.members {
            std::fs::write(member.data().join("platform.id"), id).expect("a file can be written");
        }
    }

    /// Who leads, if anybody: the control plane's number, and the revision of its election.
    pub async fn leader(&self) -> Option<(usize, u64)> {
        let entry = self.store.get(LEADER).await.ok()??;
        let name = json(&entry)["name"].as_str()?.to_owned();
        let pid: u32 = name.rsplit('/').next()?.parse().ok()?;
        let number = self
            .processes
            .iter()
            .position(|process| process.as_ref().and_then(Child::id) == Some(pid))?;
        Some((number, entry.modified))
    }

    /// Waits until a control plane leads that was elected after `before`; gives it and the time.
    ///
    /// # Panics
    /// When none does in time.
    pub async fn leads_after(&self, before: u64) -> (usize, u64, Duration) {
        let look = || async {
            match self.leader().await {
                Some((number, revision)) if revision > before => Ok((number, revision)),
                other => Err(format!("{other:?}")),
            }
        };
        let ((number, revision), took) = until_ok("a control plane to lead", LONG, look).await;
        (number, revision, took)
    }

    /// Kills a control plane with SIGKILL and waits for its end.
    ///
    /// # Panics
    /// When it does not live.
    pub async fn kill(&mut self, number: usize) {
        let mut process = self.processes[number].take().expect("it lives");
        process.kill().await.expect("it can be killed");
    }

    /// Stops a control plane in the middle of what it does, as a machine that swaps or sleeps does.
    ///
    /// # Panics
    /// When it does not live.
    pub fn pause(&self, number: usize) {
        self.signal(number, Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not live.
    pub fn go_on(&self, number: usize) {
        self.signal(number, Signal::CONT);
    }

    /// Asks it to end, and waits until it did.
    ///
    /// # Panics
    /// When it does not live.
    pub async fn stop(&mut self, number: usize) {
        self.signal(number, Signal::TERM);
        let mut process = self.processes[number].take().expect("it lives");
        let ended = process.wait().await.expect("it can be waited for");
        assert!(ended.success(), "{ended}");
    }

    fn signal(&self, number: usize, what: Signal) {
        let pid = Part::Serve.pid(self.members[number].data());
        signal(pid.expect("it lives"), what);
    }

    /// Resident memory of each control plane that lives, in KiB.
    #[must_use]
    pub fn memory(&self) -> Vec<u64> {
        let of = |id: u32| -> Option<u64> {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        let ids = self.processes.iter().flatten().filter_map(Child::id);
        ids.filter_map(of).collect()
    }

    /// One more control plane, which has another secret key: what comes of it.
    pub async fn stranger(&self) -> Finished {
        let data = self.home.path().join("stranger");
        let key = "5e".repeat(32);
        self.members[0]
            .serve_with_key(&data, &self.flags[0], &key)
            .await
    }

    /// What a control plane says of whether it is ready, and with which status; 0 when nobody answers.
    pub async fn readyz(&self, number: usize) -> (u16, String) {
        match web::get(self.members[number].listen(), "localhost", "/readyz").await {
            Ok(page) => (page.status, page.body),
            Err(error) => (0, error),
        }
    }

    /// Waits until every control plane says of whether it is ready what `wanted` takes.
    ///
    /// # Panics
    /// When one does not in time.
    pub async fn all_say(&self, what: &str, wanted: impl Fn(u16, &str) -> bool) {
        until_ok(what, LONG, || async {
            for number in 0..self.members.len() {
                let (status, said) = self.readyz(number).await;
                if !wanted(status, &said) {
                    return Err(format!("{number} says {status} {said}"));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Waits until every control plane tells those who may know of its store what `wanted` takes.
    ///
    /// # Panics
    /// When one does not in time.
    pub async fn all_tell_of_the_store(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        until_ok(what, LONG, || async {
            for member in &self.members {
                let api = member.api().await;
                let told = api.send(reqwest::Method::GET, "/system", None).await?;
                if told.status != 200 || !wanted(&told.body["store"]) {
                    return Err(format!("{told:?}"));
                }
            }
            Ok(())
        })
        .await;
    }

    /// What is written into etcd by anybody from now on.
    ///
    /// # Panics
    /// When etcd does not answer.
    pub async fn note_writes(&self) -> Writes {
        let changes = self.store.watch("/", None).await;
        Writes {
            store: self.store.clone(),
            changes: changes.expect("etcd answers"),
        }
    }

    /// Every container of the platform: its id, and when it was started.
    ///
    /// # Panics
    /// When Docker does not tell.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        let docker = self.members[0].docker();
        let label = format!("label=io.coracle.platform={}", self.members[0].id());
        let ids = docker.run(&["ps", "-aq", "--no-trunc", "--filter", &label]);
        let started = |id: &str| {
            let started = docker.inspect(id)["State"]["StartedAt"].clone();
            format!("{id} {started}")
        };
        let mut all: Vec<String> = ids.lines().map(started).collect();
        all.sort();
        all
    }

    /// Waits until what a control plane writes is what another reads.
    pub async fn readable(&self, number: usize) {
        let member = &self.members[number];
        until("a control plane to answer", LONG, || async {
            member.is_ready().await
        })
        .await;
    }
}

/// What is written into etcd.
pub struct Writes {
    store: Etcd,
    changes: WatchStream,
}

impl Writes {
    /// The keys that were written until now, in order.
    ///
    /// # Panics
    /// When etcd does not answer.
    pub async fn keys(mut self) -> Vec<String> {
        const END: &str = "/end-of-writes";
        let end = self.store.put(Put::new(END, "")).await;
        end.expect("etcd answers");
        let mut keys = Vec::new();
        loop {
            let change = self.changes.next().await;
            let change = change.expect("it does not end").expect("etcd answers");
            if change.key() == END {
                return keys;
            }
            keys.push(change.key().to_owned());
        }
    }
}

fn json(entry: &Entry) -> Value {
    serde_json::from_slice(&entry.value).expect("records are JSON")
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // All of them before the members clean up: one that lives would make anew what is removed.
        let children = self.processes.iter_mut().flatten().chain(&mut self.gateway);
        for child in children {
            if let Err(error) = child.start_kill() {
                eprintln!("a process was gone already: {error}");
            }
        }
    }
}
