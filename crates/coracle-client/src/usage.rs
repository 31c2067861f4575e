//! What is used, and was.

use coracle_model::name::{AppName, PodName, ProjectName};
use coracle_model::usage::{Usage, UsageRange, UsageSample};
use futures::StreamExt as _;
use http::Method;

use crate::client::Client;
use crate::{Items, Result, node, sse};

impl Client {
    async fn usage_of(&self, path: &str, range: UsageRange) -> Result<Usage> {
        let path = format!("{path}/usage?range={}", range.word());
        self.get(&path).await
    }

    /// What an app used.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn app_usage(
        &self,
        project: &ProjectName,
        app: &AppName,
        range: UsageRange,
    ) -> Result<Usage> {
        let path = format!("/projects/{project}/apps/{app}");
        self.usage_of(&path, range).await
    }

    /// What a pod used.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn pod_usage(
        &self,
        project: &ProjectName,
        pod: &PodName,
        range: UsageRange,
    ) -> Result<Usage> {
        let path = format!("/projects/{project}/pods/{pod}");
        self.usage_of(&path, range).await
    }

    /// What a node used.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn node_usage(&self, node: &str, range: UsageRange) -> Result<Usage> {
        self.usage_of(&node::path(node), range).await
    }

    /// What the platform used.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn system_usage(&self, range: UsageRange) -> Result<Usage> {
        self.usage_of("/system", range).await
    }

    /// What everything that the caller may see uses now, or what is of one project.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn usage_now(&self, project: Option<&ProjectName>) -> Result<UsageSample> {
        let query = project.map(|project| ("project", project.to_string()));
        let request = self.request(Method::GET, "/usage").query(&query.as_slice());
        self.ordinary(request).await
    }

    /// The newest sample, and each that comes. The stream ends when the platform does.
    ///
    /// # Errors
    /// [`crate::ClientError`], also as an item of the stream, which then ends.
    pub async fn usage_samples(&self, project: Option<&ProjectName>) -> Result<Items<UsageSample>> {
        let mut query = vec![("kinds", "Usage".to_owned())];
        query.extend(project.map(|project| ("project", project.to_string())));
        let request = self.request(Method::GET, "/events").query(&query);
        let response = self.open(request).await?;
        let client = self.clone();
        let samples = sse::events(self, response).filter_map(move |event| {
            let sample = match event {
                Ok(event) if event.name == "usage" => {
                    let read = serde_json::from_str(&event.data);
                    Some(read.map_err(|error| client.protocol(error)))
                }
                // Of the rest of the stream nothing was asked for.
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            };
            std::future::ready(sample)
        });
        Ok(samples.boxed())
    }
}
