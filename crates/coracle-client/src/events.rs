//! Live changes of objects.
//!
//! A stream first tells all that exists, then [`Change::Synced`], then each change. After [`Change::Reset`] it tells all
//! again: forget what was told before.

use coracle_model::app::App;
use coracle_model::build::Build;
use coracle_model::name::{AppName, ProjectName};
use coracle_model::node::Node;
use coracle_model::object::Kind;
use coracle_model::pod::Pod;
use coracle_model::project::Project;
use coracle_model::registry::Registry;
use coracle_model::release::Release;
use coracle_model::source::Source;
use futures::StreamExt as _;
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::Client;
use crate::sse::{self, SseEvent};
use crate::{Items, Result};

/// Which changes.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Of this project only.
    pub project: Option<ProjectName>,
    /// Of these kinds only; of all when empty.
    pub kinds: Vec<Kind>,
    /// Only what changed after this revision, where the platform still knows it.
    pub after: Option<u64>,
}

/// Something that was told.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object exists, or was changed.
    Applied(AnyObject),
    /// An object is gone.
    Deleted(Gone),
    /// All that existed was told.
    Synced,
    /// What was told before counts no more; all is told again.
    Reset,
}

/// An object of any kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnyObject {
    /// A project.
    Project(Box<Project>),
    /// An app.
    App(Box<App>),
    /// A build.
    Build(Box<Build>),
    /// A release.
    Release(Box<Release>),
    /// A pod.
    Pod(Box<Pod>),
    /// A node.
    Node(Box<Node>),
    /// A source.
    Source(Box<Source>),
    /// The registry.
    Registry(Box<Registry>),
    /// Of a kind that this client has no type for.
    Other(Value),
}

/// An object that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its project.
    pub project: Option<ProjectName>,
    /// Its app, for builds and releases.
    pub app: Option<AppName>,
}

impl Client {
    /// Follows changes of what the caller may see. The stream ends when the platform does.
    ///
    /// # Errors
    /// [`crate::ClientError`], also as an item of the stream, which then ends.
    pub async fn events(&self, query: &EventQuery) -> Result<Items<Change>> {
        let mut pairs = Vec::new();
        if let Some(project) = &query.project {
            pairs.push(("project", project.to_string()));
        }
        if !query.kinds.is_empty() {
            let names: Vec<_> = query.kinds.iter().map(|kind| format!("{kind:?}")).collect();
            pairs.push(("kinds", names.join(",")));
        }
        let mut request = self.request(Method::GET, "/events").query(&pairs);
        if let Some(after) = query.after {
            request = request.header("last-event-id", after);
        }
        let response = self.open(request).await?;
        let client = self.clone();
        Ok(sse::events(self, response)
            .map(move |event| parse(&client, event?))
            .filter_map(|change| std::future::ready(change.transpose()))
            .boxed())
    }
}

/// What an event says; none for one that a later version added.
fn parse(client: &Client, event: SseEvent) -> Result<Option<Change>> {
    Ok(Some(match event.name.as_str() {
        "applied" => Change::Applied(object(client, &event.data)?),
        "deleted" => {
            let value: Value = read(client, &event.data)?;
            match gone(&value) {
                Some(gone) => Change::Deleted(gone),
                None => return Ok(None),
            }
        }
        "synced" => Change::Synced,
        "reset" => Change::Reset,
        _ => return Ok(None),
    }))
}

fn read<T: DeserializeOwned>(client: &Client, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| client.protocol(error))
}

fn object(client: &Client, data: &str) -> Result<AnyObject> {
    let value: Value = read(client, data)?;
    let kind = serde_json::from_value::<Kind>(value["kind"].clone());
    Ok(match kind {
        Ok(Kind::Project) => AnyObject::Project(typed(client, value)?),
        Ok(Kind::App) => AnyObject::App(typed(client, value)?),
        Ok(Kind::Build) => AnyObject::Build(typed(client, value)?),
        Ok(Kind::Release) => AnyObject::Release(typed(client, value)?),
        Ok(Kind::Pod) => AnyObject::Pod(typed(client, value)?),
        Ok(Kind::Node) => AnyObject::Node(typed(client, value)?),
        Ok(Kind::Source) => AnyObject::Source(typed(client, value)?),
        Ok(Kind::Registry) => AnyObject::Registry(typed(client, value)?),
        _ => AnyObject::Other(value),
    })
}

fn typed<T: DeserializeOwned>(client: &Client, value: Value) -> Result<Box<T>> {
    serde_json::from_value(value)
        .map(Box::new)
        .map_err(|error| client.protocol(error))
}

fn gone(value: &Value) -> Option<Gone> {
    let metadata = &value["metadata"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Gone {
        kind: serde_json::from_value(value["kind"].clone()).ok()?,
        name: text(&metadata["name"])?,
        project: text(&metadata["project"]).and_then(|name| ProjectName::new(name).ok()),
        app: text(&value["spec"]["app"]).and_then(|name| AppName::new(name).ok()),
    })
}
