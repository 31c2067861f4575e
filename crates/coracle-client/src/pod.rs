//! Pods.

use coracle_model::name::{AppName, PodName, ProjectName};
use coracle_model::pod::{Pod, PodSpec, PodStats};
use http::Method;
use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::app;
use crate::client::{Client, Input};

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

#[derive(Serialize)]
struct NewCommand<'a> {
    command: &'a [String],
    tty: Option<TerminalSize>,
}

/// The path of a pod.
pub(crate) fn path(project: &ProjectName, pod: &PodName) -> String {
    format!("/projects/{project}/pods/{pod}")
}

impl Client {
    /// The pods of a project.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn pods(&self, project: &ProjectName) -> Result<Vec<Pod>> {
        self.all(&format!("/projects/{project}/pods")).await
    }

    /// The pods of all projects that the caller may see.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn all_pods(&self) -> Result<Vec<Pod>> {
        self.all("/pods").await
    }

    /// A pod.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn pod(&self, project: &ProjectName, pod: &PodName) -> Result<Pod> {
        self.get(&path(project, pod)).await
    }

    /// Makes a bare pod.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn create_pod(
        &self,
        project: &ProjectName,
        pod: &PodName,
        spec: &PodSpec,
    ) -> Result<Pod> {
        self.post(
            &format!("/projects/{project}/pods"),
            &Input::new(pod.as_str(), spec),
        )
        .await
    }

    /// Changes a bare pod: it is replaced.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn update_pod(
        &self,
        project: &ProjectName,
        pod: &PodName,
        spec: &PodSpec,
        expected: Option<u64>,
    ) -> Result<Pod> {
        let input = Input::new(pod.as_str(), spec);
        self.write(Method::PUT, &path(project, pod), &input, expected)
            .await
    }

    /// Asks for the deletion of a pod. An app's pod gets a new one in its place.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn delete_pod(
        &self,
        project: &ProjectName,
        pod: &PodName,
        expected: Option<u64>,
    ) -> Result<()> {
        self.delete(&path(project, pod), expected).await
    }

    /// Stops a pod and starts it again in place.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn restart_pod(&self, project: &ProjectName, pod: &PodName) -> Result<Pod> {
        let path = format!("{}/restart", path(project, pod));
        self.ordinary(self.request(Method::POST, &path)).await
    }

    /// What the engine itself says of a pod, without values of variables and credentials.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn describe_pod(&self, project: &ProjectName, pod: &PodName) -> Result<Value> {
        self.get(&format!("{}/description", path(project, pod)))
            .await
    }

    /// What a pod uses now.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn pod_stats(&self, project: &ProjectName, pod: &PodName) -> Result<PodStats> {
        self.get(&format!("{}/stats", path(project, pod))).await
    }

    /// Prepares a one-off command with the image and environment of an app's live release. It starts when somebody
    /// attaches to the pod that is answered ([`Client::attach`]).
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn run(
        &self,
        project: &ProjectName,
        app: &AppName,
        command: &[String],
        tty: Option<TerminalSize>,
    ) -> Result<Pod> {
        self.post(
            &format!("{}/run", app::path(project, app)),
            &NewCommand { command, tty },
        )
        .await
    }
}
