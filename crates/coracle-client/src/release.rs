//! Releases.

use coracle_model::name::{AppName, ImageRef, ProjectName};
use coracle_model::release::{Release, ReleaseNumber, RunConfig};
use http::Method;
use serde::Serialize;

use crate::Result;
use crate::app::path;
use crate::client::Client;

/// What to release.
#[derive(Clone, Debug)]
pub enum NewRelease {
    /// An image that exists, run as `config` says or, without, as the present release.
    Image {
        /// The image.
        image: ImageRef,
        /// What runs.
        config: Option<RunConfig>,
    },
    /// The release that was live before the present one.
    Previous,
    /// An earlier release, again.
    Rollback(ReleaseNumber),
    /// A release of another app, with this app's own variables.
    Promote {
        /// The project of that app.
        project: ProjectName,
        /// That app.
        app: AppName,
        /// Its release; the live one without.
        release: Option<ReleaseNumber>,
    },
}

/// May an app that is not there be made for what is deployed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingApp {
    /// Yes.
    Create,
    /// No: that is an error.
    Refuse,
}

impl MissingApp {
    pub(crate) const fn query(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Create => &[("create", "true")],
            Self::Refuse => &[],
        }
    }
}

#[derive(Default, Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a ImageRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a RunConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    promote: Option<Promote<'a>>,
}

#[derive(Serialize)]
struct Promote<'a> {
    project: &'a ProjectName,
    app: &'a AppName,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
}

impl Client {
    /// The releases of an app, the oldest first.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn releases(&self, project: &ProjectName, app: &AppName) -> Result<Vec<Release>> {
        self.all(&format!("{}/releases", path(project, app))).await
    }

    /// A release.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn release(
        &self,
        project: &ProjectName,
        app: &AppName,
        number: ReleaseNumber,
    ) -> Result<Release> {
        self.get(&format!("{}/releases/{number}", path(project, app)))
            .await
    }

    /// A release; one that is live once every gateway sends requests to it (for which the platform waits some
    /// seconds at most).
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn release_served(
        &self,
        project: &ProjectName,
        app: &AppName,
        number: ReleaseNumber,
    ) -> Result<Release> {
        let path = path(project, app);
        self.get(&format!("{path}/releases/{number}?served=true"))
            .await
    }

    /// Makes a release. [`Client::wait_release`] tells what comes of it.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn create_release(
        &self,
        project: &ProjectName,
        app: &AppName,
        new: &NewRelease,
        missing: MissingApp,
    ) -> Result<Release> {
        let body = match new {
            NewRelease::Image { image, config } => Body {
                image: Some(image),
                config: config.as_ref(),
                ..Body::default()
            },
            NewRelease::Previous => Body {
                rollback: Some("previous".to_owned()),
                ..Body::default()
            },
            NewRelease::Rollback(number) => Body {
                rollback: Some(number.to_string()),
                ..Body::default()
            },
            NewRelease::Promote {
                project,
                app,
                release,
            } => Body {
                promote: Some(Promote {
                    project,
                    app,
                    release: release.map(|number| number.to_string()),
                }),
                ..Body::default()
            },
        };
        let request = self.request(Method::POST, &format!("{}/releases", path(project, app)));
        self.ordinary(request.query(missing.query()).json(&body))
            .await
    }
}
