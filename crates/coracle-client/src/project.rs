//! Projects.

use coracle_model::name::ProjectName;
use coracle_model::project::{Project, ProjectSpec};
use http::Method;

use crate::Result;
use crate::client::{Client, Input};

impl Client {
    /// The projects that the caller may see.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn projects(&self) -> Result<Vec<Project>> {
        self.all("/projects").await
    }

    /// A project.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn project(&self, project: &ProjectName) -> Result<Project> {
        self.get(&format!("/projects/{project}")).await
    }

    /// Makes a project.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn create_project(
        &self,
        project: &ProjectName,
        spec: &ProjectSpec,
    ) -> Result<Project> {
        self.post("/projects", &Input::new(project.as_str(), spec))
            .await
    }

    /// Changes a project.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn update_project(
        &self,
        project: &ProjectName,
        spec: &ProjectSpec,
        expected: Option<u64>,
    ) -> Result<Project> {
        let input = Input::new(project.as_str(), spec);
        self.write(
            Method::PUT,
            &format!("/projects/{project}"),
            &input,
            expected,
        )
        .await
    }

    /// Deletes a project.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn delete_project(&self, project: &ProjectName, expected: Option<u64>) -> Result<()> {
        self.delete(&format!("/projects/{project}"), expected).await
    }
}
