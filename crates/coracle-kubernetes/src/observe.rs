//! What the cluster tells: watches on pods, Deployments, Jobs, nodes, namespaces and warnings. Nothing is polled.
//!
//! Theory of operation: each watch lists everything once and then follows; when it breaks (the API server is away, the
//! versions it asks for are too old, the credentials have expired) it begins again after a pause that grows, and what a
//! fresh list does not name is gone. Watchers of the engine see only the differences, so they need no fresh start.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;

use coracle_model::name::ProjectName;
use coracle_model::workload::WorkloadId;
use coracle_task::Backoff;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Warning, Namespace, Node, Pod};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::facts::{PLATFORM, PROJECT, label};
use crate::group::{Group, Kept};
use crate::intake::From;
use crate::node;
use crate::state::{Core, Part};

/// More warnings than this are forgotten at once: they are a help, not a record.
const WARNINGS: usize = 10_000;
/// Letters of a warning.
const WORDS: usize = 500;

/// Begins all watches.
pub(crate) fn spawn(core: &Arc<Core>) {
    let supervisor = &core.config.supervisor;
    let seconds = u32::try_from(core.config.patience.watch.as_secs()).unwrap_or(u32::MAX);
    // With no bound at all, a watch that died on the way would be waited on for ever.
    let all = || watcher::Config::default().timeout(seconds.max(1));
    let own = || all().labels(&format!("{PLATFORM}={}", core.config.platform));
    service(core, "kubernetes-pods", own(), take::<Pod>);
    service(core, "kubernetes-deployments", own(), take::<Deployment>);
    service(core, "kubernetes-jobs", own(), take::<Job>);
    service(core, "kubernetes-nodes", all(), nodes);
    service(core, "kubernetes-namespaces", own(), namespaces);
    let warnings = all().fields("type=Warning");
    service(core, "kubernetes-warnings", warnings, warned);
    let ringing = Arc::clone(core);
    supervisor.service("kubernetes-alarms", Backoff::default(), move || {
        let core = Arc::clone(&ringing);
        async move {
            core.ring().await;
            Ok::<(), Infallible>(())
        }
    });
}

/// `take` gets what was listed so far, while a fresh list is read.
fn service<K, L>(
    core: &Arc<Core>,
    name: &'static str,
    config: watcher::Config,
    take: fn(&Arc<Core>, &mut L, watcher::Event<K>),
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    L: Default + Send + 'static,
{
    let core = Arc::clone(core);
    let supervisor = core.config.supervisor.clone();
    supervisor.service(name, Backoff::default(), move || {
        let (core, config) = (Arc::clone(&core), config.clone());
        async move {
            let api: Api<K> = Api::all(core.client.clone());
            let mut events = watcher(api, config).default_backoff().boxed();
            let mut listed = L::default();
            let mut failed = false;
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        failed = false;
                        take(&core, &mut listed, event);
                    }
                    Err(error) => {
                        // Once in a row: it is tried again for as long as it takes.
                        if !failed {
                            tracing::warn!(watch = name, %error, "the cluster cannot be watched");
                        }
                        failed = true;
                    }
                }
            }
            Ok::<(), Infallible>(())
        }
    });
}

/// A workload and the name of an object of it.
type Key = (WorkloadId, String);

/// All objects of a kind that are known, with uids.
fn known<K: Kept>(core: &Core) -> Vec<(Key, Option<String>)> {
    core.with(|state| {
        let mut known = Vec::new();
        for (id, group) in &mut state.groups {
            for (name, held) in K::of(group) {
                known.push(((id.clone(), name.clone()), held.live.meta().uid.clone()));
            }
        }
        known
    })
}

fn take<K: Kept>(core: &Arc<Core>, listed: &mut BTreeSet<Key>, event: watcher::Event<K>) {
    let key = |object: &K| {
        let facts = core.own(object.meta())?;
        Some((facts.id(), object.name_any()))
    };
    match event {
        watcher::Event::Init => listed.clear(),
        watcher::Event::InitApply(object) => {
            listed.extend(key(&object));
            core.take(object, From::Watch);
        }
        watcher::Event::InitDone => {
            for ((id, name), uid) in known::<K>(core) {
                if !listed.contains(&(id.clone(), name.clone())) {
                    core.forget::<K>(&id, &name, uid.as_deref());
                }
            }
            listed.clear();
            loaded(core, K::PART);
        }
        watcher::Event::Apply(object) => core.take(object, From::Watch),
        watcher::Event::Delete(object) => {
            let version = crate::state::version(object.meta().resource_version.as_deref());
            core.with(|state| state.saw(K::PART, version));
            if let Some((id, name)) = key(&object) {
                core.forget::<K>(&id, &name, object.meta().uid.as_deref());
            }
        }
    }
}

fn loaded(core: &Arc<Core>, part: Part) {
    if core.with(|state| state.loaded(part)) {
        let ids: Vec<WorkloadId> = core.with(|state| state.groups.keys().cloned().collect());
        for id in ids {
            core.reconcile(&id);
        }
    }
    core.touch();
}

fn nodes(core: &Arc<Core>, (): &mut (), event: watcher::Event<Node>) {
    match event {
        watcher::Event::Init => core.with(|state| state.listed_nodes.clear()),
        watcher::Event::InitApply(node) | watcher::Event::Apply(node) => {
            let name = node.name_any();
            let node = node::read(&node);
            let turned = core.with(|state| {
                state.listed_nodes.insert(name.clone());
                state.set_node(node).then(|| state.on_node(&name))
            });
            // What ends there may be waited for in vain from now on.
            for id in turned.into_iter().flatten() {
                core.reconcile(&id);
            }
        }
        watcher::Event::InitDone => {
            core.with(|state| {
                let gone: Vec<String> = state
                    .nodes
                    .keys()
                    .filter(|name| !state.listed_nodes.contains(*name))
                    .cloned()
                    .collect();
                for name in gone {
                    state.forget_node(&name);
                }
            });
            loaded(core, Part::Nodes);
        }
        watcher::Event::Delete(node) => core.with(|state| state.forget_node(&node.name_any())),
    }
    core.touch();
}

/// Namespaces of projects: only whether they are there.
fn namespaces(
    core: &Arc<Core>,
    listed: &mut BTreeSet<ProjectName>,
    event: watcher::Event<Namespace>,
) {
    let project = |namespace: &Namespace| {
        let name = label(&namespace.metadata, PROJECT)?;
        let project = ProjectName::new(name).ok()?;
        // Labels can be copied.
        let own = core.namespace(&project).ok()?;
        (own == namespace.name_any()).then_some(project)
    };
    match event {
        watcher::Event::Init => listed.clear(),
        watcher::Event::InitApply(namespace) => listed.extend(project(&namespace)),
        watcher::Event::InitDone => core.projects.keep(&std::mem::take(listed)),
        // One that is being deleted says so to whoever makes something there.
        watcher::Event::Apply(_) => {}
        // Also when it has lost our label.
        watcher::Event::Delete(namespace) => {
            if let Some(project) = project(&namespace) {
                core.projects.forget(&project);
            }
        }
    }
}

fn warned(core: &Arc<Core>, (): &mut (), event: watcher::Event<Warning>) {
    let (watcher::Event::Apply(warning) | watcher::Event::InitApply(warning)) = event else {
        return;
    };
    let (object, message) = (
        &warning.involved_object,
        warning.message.unwrap_or_default(),
    );
    let matters = matches!(object.kind.as_deref(), Some("Pod" | "Job"));
    let namespace = object.namespace.as_deref().unwrap_or_default();
    if !matters || !namespace.starts_with(&core.config.namespace_prefix) {
        return;
    }
    let Some(uid) = object.uid.clone() else {
        return;
    };
    // That a crash is followed by a pause is told better by the container's own state.
    if matches!(
        warning.reason.as_deref(),
        Some("BackOff" | "FailedScheduling")
    ) {
        return;
    }
    let message: String = message.chars().take(WORDS).collect();
    core.with(|state| {
        if state.warnings.len() >= WARNINGS {
            state.warnings.clear();
        }
        state.warnings.insert(uid.clone(), message);
        let of = |group: &Group| {
            group
                .pods
                .values()
                .any(|p| p.live.metadata.uid.as_ref() == Some(&uid))
                || group
                    .jobs
                    .values()
                    .any(|j| j.live.metadata.uid.as_ref() == Some(&uid))
        };
        let id = state
            .groups
            .iter()
            .find(|(_, group)| of(group))
            .map(|(id, _)| id.clone());
        if let Some(id) = id {
            state.publish(&id);
        }
    });
}
