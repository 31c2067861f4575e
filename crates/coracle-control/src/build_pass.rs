//! With what one build logs in to the platform's own registry.
//!
//! Theory of operation: a pass says which build it is for, sealed with the platform's key: every control plane can read
//! it, nobody else can make one, and none is kept. It is good for that build's image alone, under the one tag that the build
//! pushes, and as long as the store says that the build goes on: what comes of a build that was cancelled, or that is over,
//! cannot be pushed any more.

use chrono::{DateTime, TimeDelta, Utc};
use coracle_engine::build::RegistryCredentials;
use coracle_model::build::{Build, BuildSpec, Cancel};
use coracle_model::env::Secret;
use coracle_model::name::{AppName, ProjectName};
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::error::OperationError;
use crate::image::pushed_tag;
use crate::keys;

/// What every pass begins with, so that scanners for leaked secrets find it.
const PREFIX: &str = "corbuild_";
/// What a sealed pass is bound to.
const PLACE: &str = "registry/build-pass";
/// The user that logs in with it.
const USER: &str = "coracle-build";
/// Over the time that a build may take: a build that a control plane goes on with keeps its pass.
const LONGER: TimeDelta = TimeDelta::minutes(30);

/// Which build a pass is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    project: ProjectName,
    app: AppName,
    number: u32,
    /// Of the build: one of the same number, of an app that was made again, is another.
    uid: String,
    expires: DateTime<Utc>,
}

/// Which image the bearer of a pass may push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildGrant {
    /// The project.
    pub project: ProjectName,
    /// The app.
    pub app: AppName,
    /// The tag.
    pub tag: String,
}

impl Control {
    /// The pass of a build that is about to run.
    ///
    /// # Errors
    /// [`OperationError::Unseal`] when the system gives no random numbers.
    pub fn build_pass(
        &self,
        project: &ProjectName,
        build: &Build,
    ) -> Result<RegistryCredentials, OperationError> {
        let time = TimeDelta::from_std(self.settings.limits.build_time).unwrap_or(TimeDelta::MAX);
        let until = Utc::now()
            .checked_add_signed(time)
            .and_then(|at| at.checked_add_signed(LONGER));
        let claim = Claim {
            project: project.clone(),
            app: build.spec.app.clone(),
            number: build.spec.number,
            uid: build.metadata.uid.clone(),
            expires: until.unwrap_or(DateTime::<Utc>::MAX_UTC),
        };
        let claim = serde_json::to_string(&claim).map_err(|_never| OperationError::Unseal)?;
        let sealed = self.vault.seal(PLACE, &Secret::new(claim))?;
        Ok(RegistryCredentials {
            user: USER.to_owned(),
            password: Secret::new(format!("{PREFIX}{sealed}")),
        })
    }

    /// Which image the bearer of a pass may push; nothing when it is none, or its build does not go on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn build_grant(&self, presented: &str) -> Result<Option<BuildGrant>, OperationError> {
        let Some(sealed) = presented.strip_prefix(PREFIX) else {
            return Ok(None);
        };
        let Ok(claim) = self.vault.open_sealed(PLACE, sealed) else {
            return Ok(None);
        };
        let Ok(claim) = serde_json::from_str::<Claim>(claim.expose()) else {
            return Ok(None);
        };
        if claim.expires < Utc::now() {
            return Ok(None);
        }
        let at = keys::build(&claim.project, &claim.app, claim.number);
        let Some(build) = self.objects.get::<BuildSpec>(&at).await? else {
            return Ok(None);
        };
        let goes_on = build.metadata.uid == claim.uid
            && !build.status.phase.is_final()
            && build.spec.cancel == Cancel::No;
        Ok(goes_on.then_some(BuildGrant {
            tag: pushed_tag(&build),
            project: claim.project,
            app: claim.app,
        }))
    }
}
