//! Sources and templates.

use std::io;

use bytes::Bytes;
use coracle_model::build::Build;
use coracle_model::env::Secret;
use coracle_model::name::{AppName, ProjectName};
use coracle_model::release::RunChange;
use coracle_model::source::{
    GitOrigin, GitRef, GitUrl, Source, SourceId, SourcePath, Template, TemplateName,
};
use futures::Stream;
use http::Method;
use serde::Serialize;

use crate::app;
use crate::client::Client;
use crate::release::MissingApp;
use crate::{Items, Result};

/// A source that the platform is to fetch.
#[derive(Clone, Debug)]
pub enum NewSource {
    /// From a repository.
    Git {
        /// Where.
        origin: GitOrigin,
        /// The user that the server wants.
        username: Option<String>,
        /// The password or token.
        password: Option<Secret>,
    },
    /// From a template.
    Template(TemplateName),
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    git: Option<GitBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a TemplateName>,
}

#[derive(Serialize)]
struct GitBody<'a> {
    url: &'a GitUrl,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<&'a GitRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a SourcePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

#[derive(Serialize)]
struct BuildBody<'a> {
    source: &'a SourceId,
    #[serde(skip_serializing_if = "RunChange::is_empty")]
    config: &'a RunChange,
}

fn path(project: &ProjectName) -> String {
    format!("/projects/{project}/sources")
}

impl Client {
    /// The templates that come with the platform.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn templates(&self) -> Result<Vec<Template>> {
        self.all("/templates").await
    }

    /// The sources of a project.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn sources(&self, project: &ProjectName) -> Result<Vec<Source>> {
        self.all(&path(project)).await
    }

    /// A source.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn source(&self, project: &ProjectName, id: &SourceId) -> Result<Source> {
        self.get(&format!("{}/{id}", path(project))).await
    }

    /// Asks for a source. [`Client::wait_source`] tells what comes of it.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn create_source(&self, project: &ProjectName, new: &NewSource) -> Result<Source> {
        let body = match new {
            NewSource::Git {
                origin,
                username,
                password,
            } => Body {
                git: Some(GitBody {
                    url: &origin.url,
                    reference: origin.reference.as_ref(),
                    path: origin.path.as_ref(),
                    username: username.as_deref(),
                    password: password.as_ref().map(Secret::expose),
                }),
                template: None,
            },
            NewSource::Template(name) => Body {
                git: None,
                template: Some(name),
            },
        };
        self.post(&path(project), &body).await
    }

    /// Sends an archive (tar, tar.gz or tar.zst, which `content_type` tells) as a source.
    ///
    /// # Errors
    /// [`crate::ClientError::Source`] when the stream failed; else what the platform said.
    pub async fn upload_source(
        &self,
        project: &ProjectName,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        content_type: &str,
    ) -> Result<Source> {
        let request = self.request(Method::POST, &path(project));
        self.send_archive(request, archive, content_type).await
    }

    /// Removes a source. Builds of it go on.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn delete_source(&self, project: &ProjectName, id: &SourceId) -> Result<()> {
        self.delete(&format!("{}/{id}", path(project)), None).await
    }

    /// Asks for a build of a source.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn build_source(
        &self,
        project: &ProjectName,
        app: &AppName,
        source: &SourceId,
        config: &RunChange,
        missing: MissingApp,
    ) -> Result<Build> {
        let path = format!("{}/builds", app::path(project, app));
        let body = BuildBody { source, config };
        let request = self.request(Method::POST, &path).query(missing.query());
        self.ordinary(request.json(&body)).await
    }

    /// Tells how far a source is, each time that something of it changes, until it is ready or failed. The stream ends
    /// after that, or with an error.
    pub fn wait_source(&self, project: &ProjectName, id: &SourceId) -> Items<Source> {
        self.follow_source(project, id)
    }
}
