//! Apps, their scale and their domains.

use coracle_model::app::{App, AppSpec, ScaleChange};
use coracle_model::name::{AppName, Hostname, ProjectName};
use http::Method;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::client::{Client, Input};

/// A host name of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppDomain {
    /// The host name.
    pub host: Hostname,
    /// Where people reach it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// The path of an app.
pub(crate) fn path(project: &ProjectName, app: &AppName) -> String {
    format!("/projects/{project}/apps/{app}")
}

impl Client {
    /// The apps of a project.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn apps(&self, project: &ProjectName) -> Result<Vec<App>> {
        self.all(&format!("/projects/{project}/apps")).await
    }

    /// An app.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn app(&self, project: &ProjectName, app: &AppName) -> Result<App> {
        self.get(&path(project, app)).await
    }

    /// Makes an app. Its variables are set by [`Client::change_env`].
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn create_app(
        &self,
        project: &ProjectName,
        app: &AppName,
        spec: &AppSpec,
    ) -> Result<App> {
        self.post(
            &format!("/projects/{project}/apps"),
            &Input::new(app.as_str(), spec),
        )
        .await
    }

    /// Changes an app.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn update_app(
        &self,
        project: &ProjectName,
        app: &AppName,
        spec: &AppSpec,
        expected: Option<u64>,
    ) -> Result<App> {
        let input = Input::new(app.as_str(), spec);
        self.write(Method::PUT, &path(project, app), &input, expected)
            .await
    }

    /// Asks for the deletion of an app with all that it has. It is gone when [`Client::app`] finds it no more.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn delete_app(
        &self,
        project: &ProjectName,
        app: &AppName,
        expected: Option<u64>,
    ) -> Result<()> {
        self.delete(&path(project, app), expected).await
    }

    /// How many pods each process should have.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn scale(&self, project: &ProjectName, app: &AppName) -> Result<ScaleChange> {
        self.get(&format!("{}/scale", path(project, app))).await
    }

    /// Changes how many pods processes have.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn change_scale(
        &self,
        project: &ProjectName,
        app: &AppName,
        change: &ScaleChange,
        expected: Option<u64>,
    ) -> Result<App> {
        let path = format!("{}/scale", path(project, app));
        self.write(Method::PUT, &path, change, expected).await
    }

    /// The host names of an app, its own first.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn domains(&self, project: &ProjectName, app: &AppName) -> Result<Vec<AppDomain>> {
        self.all(&format!("{}/domains", path(project, app))).await
    }

    /// Gives an app one more host name.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn add_domain(
        &self,
        project: &ProjectName,
        app: &AppName,
        host: &Hostname,
    ) -> Result<App> {
        let domain = AppDomain {
            host: host.clone(),
            url: String::new(),
        };
        self.post(&format!("{}/domains", path(project, app)), &domain)
            .await
    }

    /// Takes a host name away from an app.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn remove_domain(
        &self,
        project: &ProjectName,
        app: &AppName,
        host: &Hostname,
    ) -> Result<()> {
        self.delete(&format!("{}/domains/{host}", path(project, app)), None)
            .await
    }
}
