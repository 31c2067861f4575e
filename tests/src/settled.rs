//! Is the platform settled: does the engine have what the API says, all of it and nothing else?

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::platform::Platform;
use crate::wait::until_ok;

/// A build that was interrupted may be done once more: that takes a while.
const LIMIT: Duration = Duration::from_secs(150);

impl Platform {
    /// Waits until nothing is under way any more and Docker has what the API says: every pod once, every network once, nothing
    /// else; every app the pods it was asked for, of one release, and that release the only live one. Gives the time.
    ///
    /// # Panics
    /// When that does not come true in time, with what is in the way.
    pub async fn settled(&self) -> Duration {
        until_ok("the platform to settle", LIMIT, || self.look())
            .await
            .1
    }

    /// Asserts that nothing is left in Docker but the networks of projects that exist.
    ///
    /// # Panics
    /// When something is.
    pub async fn nothing_left(&self) {
        let (docker, id) = (self.docker(), self.id());
        until_ok("everything to be removed", LIMIT, || async {
            let projects = names(&self.api().await.list("/projects").await?);
            let (pods, networks) = (docker.pods(&id), docker.networks(&id));
            let strangers: Vec<_> = networks
                .iter()
                .filter(|network| !projects.contains(*network))
                .collect();
            if pods.is_empty() && strangers.is_empty() && docker.volumes(&id).is_empty() {
                return Ok(());
            }
            Err(format!(
                "containers {pods:?}, networks {strangers:?}, volumes {:?}",
                docker.volumes(&id)
            ))
        })
        .await;
    }

    async fn look(&self) -> Result<(), String> {
        let told = told(self).await?;
        let (docker, id) = (self.docker(), self.id());
        let there = docker.pods(&id);
        if there != told.pods {
            return Err(format!(
                "Docker has {there:?}, the API says {:?}",
                told.pods
            ));
        }
        let networks = docker.networks(&id);
        let once: BTreeSet<_> = networks.iter().cloned().collect();
        if once.len() != networks.len() || !once.is_subset(&told.projects) {
            return Err(format!(
                "networks {networks:?} for projects {:?}",
                told.projects
            ));
        }
        Ok(())
    }

    /// Gives the number of pods that the app should have.
    async fn look_at(&self, project: &str, app: &Value, pods: &[Value]) -> Result<usize, String> {
        let name = text(&app["metadata"]["name"]);
        let status = &app["status"];
        if !app["metadata"]["deleting"].is_null() {
            return Err(format!("{project}/{name} is being deleted"));
        }
        let phase = text(&status["phase"]);
        if phase == "deploying" {
            return Err(format!("{project}/{name} is {phase}: {status}"));
        }
        self.look_at_history(project, name, status).await?;
        if status["release"].is_null() {
            return Ok(0);
        }
        let mut wanted = 0;
        let empty = serde_json::Map::new();
        for (process, counts) in status["processes"].as_object().unwrap_or(&empty) {
            let replicas = counts["replicas"].as_u64().unwrap_or_default();
            let asked = app["spec"]["scale"][process].as_u64().unwrap_or(replicas);
            let release = &status["release"];
            let have: Vec<&Value> = pods
                .iter()
                .filter(|pod| {
                    pod["metadata"]["project"] == project
                        && pod["spec"]["app"] == name
                        && pod["spec"]["process"] == *process
                })
                .collect();
            let good = have
                .iter()
                .filter(|pod| {
                    pod["status"]["phase"] == "ready" && pod["spec"]["release"] == *release
                })
                .count() as u64;
            if replicas != asked
                || good != asked
                || have.len() as u64 != asked
                || counts["ready"] != asked
            {
                let have: Vec<Value> = have.into_iter().cloned().collect();
                return Err(format!(
                    "{project}/{name} {process}: asked {asked}, status {counts}, release {release}, pods {}",
                    brief(&have)
                ));
            }
            wanted += usize::try_from(asked).unwrap_or(usize::MAX);
        }
        Ok(wanted)
    }

    async fn look_at_history(
        &self,
        project: &str,
        app: &str,
        status: &Value,
    ) -> Result<(), String> {
        let api = self.api().await;
        let at = format!("/projects/{project}/apps/{app}");
        let mut live = Vec::new();
        for release in api.list(&format!("{at}/releases")).await? {
            let (number, phase) = (
                &release["spec"]["number"],
                text(&release["status"]["phase"]),
            );
            match phase {
                "live" => live.push(number.clone()),
                "superseded" | "failed" => {}
                other => return Err(format!("release {number} of {project}/{app} is {other}")),
            }
        }
        let wanted: Vec<Value> = status
            .get("release")
            .filter(|n| !n.is_null())
            .cloned()
            .into_iter()
            .collect();
        if live != wanted {
            return Err(format!(
                "{project}/{app}: live are {live:?}, the traffic is with {wanted:?}"
            ));
        }
        for build in api.list(&format!("{at}/builds")).await? {
            let phase = text(&build["status"]["phase"]);
            if !matches!(phase, "succeeded" | "failed" | "cancelled") {
                return Err(format!(
                    "build {} of {project}/{app} is {phase}",
                    build["metadata"]["name"]
                ));
            }
        }
        Ok(())
    }
}

/// What the API says of a platform in which nothing is under way.
pub(crate) struct Told {
    pub(crate) projects: BTreeSet<String>,
    /// As `PROJECT/POD`, sorted.
    pub(crate) pods: Vec<String>,
}

/// Asks the API: every app must have the pods it was asked for, of one release, and that release be the only live one.
pub(crate) async fn told(platform: &Platform) -> Result<Told, String> {
    let api = platform.api().await;
    let projects = names(&api.list("/projects").await?);
    let pods = api.list("/pods").await?;
    let mut wanted = 0;
    for project in &projects {
        for app in api.list(&format!("/projects/{project}/apps")).await? {
            wanted += platform.look_at(project, &app, &pods).await?;
        }
    }
    let bare = pods
        .iter()
        .filter(|pod| pod["spec"]["app"].is_null())
        .count();
    if pods.len() != wanted + bare {
        return Err(format!(
            "{} pods, {wanted} wanted and {bare} bare: {}",
            pods.len(),
            brief(&pods)
        ));
    }
    let pods = sorted(pods.iter().map(|pod| {
        format!(
            "{}/{}",
            text(&pod["metadata"]["project"]),
            text(&pod["metadata"]["name"])
        )
    }));
    Ok(Told { projects, pods })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn names(objects: &[Value]) -> BTreeSet<String> {
    objects
        .iter()
        .map(|object| text(&object["metadata"]["name"]).to_owned())
        .collect()
}

fn sorted(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = all.collect();
    all.sort();
    all
}

fn brief(pods: &[Value]) -> String {
    let mut all = BTreeMap::new();
    for pod in pods {
        let name = format!(
            "{}/{}",
            text(&pod["metadata"]["project"]),
            text(&pod["metadata"]["name"])
        );
        all.insert(
            name,
            format!(
                "{} of release {}",
                text(&pod["status"]["phase"]),
                pod["spec"]["release"]
            ),
        );
    }
    format!("{all:?}")
}
