//! Somebody who never waits: deploys, scales, changes and deletes, so that there is always something to interrupt.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::platform::Platform;
use crate::source::Source;

const APPS: [&str; 4] = ["ant", "bee", "cat", "dog"];
/// Most milliseconds between two wishes.
const BREATH: u64 = 300;

/// Are folders uploaded to be built, too?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builds {
    /// Now and then.
    Some,
    /// Only images are deployed.
    None,
}

/// Somebody who asks for something new before the last thing is done.
#[derive(Debug)]
pub struct Person<'a> {
    platform: &'a Platform,
    /// The second one comes and goes.
    projects: [String; 2],
    /// What is deployed in each: an image in the platform's registry is its project's own.
    images: [String; 2],
    builds: Builds,
    chance: fastrand::Rng,
    source: Source,
    done: u64,
    version: u64,
}

impl<'a> Person<'a> {
    /// Somebody who deploys to two projects, each with an image, of which the second one is made and deleted all the time.
    #[must_use]
    pub fn new(
        platform: &'a Platform,
        projects: [String; 2],
        images: [&str; 2],
        builds: Builds,
        chance: fastrand::Rng,
    ) -> Self {
        Self {
            platform,
            projects,
            images: images.map(str::to_owned),
            builds,
            chance,
            source: Source::page("built"),
            done: 0,
            version: 0,
        }
    }

    /// So many wishes were taken up.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// Asks and asks, until it is dropped.
    pub async fn is_busy(&mut self) {
        loop {
            self.asks().await;
            // A short breath, so that some wishes come true and others meet each other.
            let breath = Duration::from_millis(self.chance.u64(0..BREATH));
            tokio::time::sleep(breath).await;
        }
    }

    /// Any answer will do, and so will none: the control plane may be killed at any moment.
    async fn asks(&mut self) {
        let api = self.platform.api().await;
        let [_, passing] = &self.projects;
        let which = self.chance.usize(..2);
        let project = &self.projects[which];
        let app = APPS[self.chance.usize(..APPS.len())];
        let at = format!("/projects/{project}/apps/{app}");
        let answer = match self.chance.u32(0..100) {
            60..70 if self.builds == Builds::Some => {
                self.version += 1;
                let page = format!("built {}\n", self.version);
                self.source.write("index.html", &page);
                let path = format!("{at}/builds?create=true");
                api.upload(&path, self.source.archive()).await
            }
            0..35 | 60..70 => {
                self.version += 1;
                let config = json!({"processes": {"web": {"replicas": self.chance.u32(1..=2)}}, "env": {"VERSION": self.version.to_string()}});
                let body = json!({"image": self.images[which], "config": config});
                let path = format!("{at}/releases?create=true");
                api.send(Method::POST, &path, Some(&body)).await
            }
            35..50 => {
                let body = json!({"processes": {"web": self.chance.u32(0..=3)}});
                api.send(Method::PUT, &format!("{at}/scale"), Some(&body))
                    .await
            }
            50..60 => {
                let body = json!({"set": {"WORD": self.chance.u64(..).to_string()}});
                api.send(Method::PATCH, &format!("{at}/env"), Some(&body))
                    .await
            }
            70..85 => api.send(Method::DELETE, &at, None).await,
            85..90 => {
                let path = format!("/projects/{passing}");
                api.send(Method::DELETE, &path, None).await
            }
            _ => {
                let body = json!({"metadata": {"name": passing}, "spec": {}});
                api.send(Method::POST, "/projects", Some(&body)).await
            }
        };
        if answer.is_ok_and(|answer| (200..300).contains(&answer.status)) {
            self.done += 1;
        }
    }
}
