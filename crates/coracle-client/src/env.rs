//! Variables and secrets of apps.

use std::collections::BTreeMap;

use coracle_model::env::{EnvChange, EnvView};
use coracle_model::name::{AppName, EnvName, ProjectName};
use coracle_model::release::ReleaseNumber;
use http::Method;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Result;
use crate::app::path;
use crate::client::Client;

/// An app's variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Env {
    /// By name. Secret ones have no value here.
    pub vars: BTreeMap<EnvName, EnvView>,
    /// The release that was made for a change.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number"
    )]
    pub release: Option<ReleaseNumber>,
}

/// The API writes it as in `v4`.
fn number<'de, D: Deserializer<'de>>(d: D) -> Result<Option<ReleaseNumber>, D::Error> {
    Option::<String>::deserialize(d)?
        .map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}

impl Client {
    /// An app's variables; secret ones without their value.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn env(&self, project: &ProjectName, app: &AppName) -> Result<Env> {
        self.get(&format!("{}/env", path(project, app))).await
    }

    /// Changes an app's variables. An app that has a release gets a new one.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn change_env(
        &self,
        project: &ProjectName,
        app: &AppName,
        change: &EnvChange,
        expected: Option<u64>,
    ) -> Result<Env> {
        let path = format!("{}/env", path(project, app));
        self.write(Method::PATCH, &path, change, expected).await
    }
}
