//! Until a build or a release has come to its end, or an app to where it is wanted.
//!
//! Theory of operation: nothing is polled. The platform's event stream tells all that exists and then each change, so
//! a waiter that lost its connection, also because the control plane was restarted, connects again and is told
//! everything anew: what it knew is thrown away and built up again, and only then it goes on telling. It gives up
//! when the platform cannot be reached for a minute.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_model::app::App;
use coracle_model::build::Build;
use coracle_model::name::{AppName, ProjectName};
use coracle_model::node::{DrainPhase, Node};
use coracle_model::object::Kind;
use coracle_model::pod::Pod;
use coracle_model::release::{Release, ReleaseNumber, ReleasePhase};
use coracle_model::source::{Source, SourceId};
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use crate::client::Client;
use crate::error::ClientError;
use crate::events::{AnyObject, Change, EventQuery};
use crate::{Items, Result};

/// Pauses between attempts to reach a platform that is away for a moment.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    failing_since: Option<Instant>,
    pause: Duration,
}

impl Retry {
    /// So long a platform may be away: a restart takes seconds.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(2);

    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Pauses after `error`, or gives it back when trying again is of no use.
    pub(crate) async fn pause(&mut self, error: ClientError) -> Result<()> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if !error.is_passing() || since.elapsed() > Self::PATIENCE {
            return Err(error);
        }
        tracing::debug!(%error, "trying again");
        self.pause = (self.pause * 2).clamp(Self::FIRST, Self::LONGEST);
        tokio::time::sleep(self.pause).await;
        Ok(())
    }
}

/// How far a release is.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// The release. Its phase is final in the last item: `live`, `superseded` or `failed`.
    pub release: Release,
    /// Its pods.
    pub pods: Vec<Pod>,
}

impl Rollout {
    /// Has it come to its end?
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.release.status.phase.is_final()
            || matches!(self.release.status.phase, ReleasePhase::Live)
    }
}

impl Client {
    /// Tells how far a release is, each time that something of it changes, until it is live, superseded or failed.
    /// The stream ends after that, or with an error.
    pub fn wait_release(
        &self,
        project: &ProjectName,
        app: &AppName,
        number: ReleaseNumber,
    ) -> Items<Rollout> {
        let waiter = Waiter::new(self, project, vec![Kind::Release, Kind::Pod]);
        let (client, project, app) = (self.clone(), project.clone(), app.clone());
        let release = ReleaseState {
            app: app.clone(),
            number,
            release: None,
            pods: BTreeMap::new(),
        };
        waiter.follow(release, move || {
            let (client, project, app) = (client.clone(), project.clone(), app.clone());
            async move {
                let release = client.release(&project, &app, number).await?;
                Ok(Rollout {
                    release,
                    pods: Vec::new(),
                })
            }
        })
    }

    /// Tells how far a build is, each time that something of it changes, until it succeeded, failed or was cancelled.
    /// The stream ends after that, or with an error.
    pub fn wait_build(&self, project: &ProjectName, app: &AppName, number: u32) -> Items<Build> {
        let waiter = Waiter::new(self, project, vec![Kind::Build]);
        let (client, project, app) = (self.clone(), project.clone(), app.clone());
        let build = BuildState {
            app: app.clone(),
            number,
            build: None,
        };
        waiter.follow(build, move || {
            let (client, project, app) = (client.clone(), project.clone(), app.clone());
            async move { client.build(&project, &app, number).await }
        })
    }

    pub(crate) fn follow_source(&self, project: &ProjectName, id: &SourceId) -> Items<Source> {
        let waiter = Waiter::new(self, project, vec![Kind::Source]);
        let (client, project, id) = (self.clone(), project.clone(), id.clone());
        let source = SourceState {
            id: id.clone(),
            source: None,
        };
        waiter.follow(source, move || {
            let (client, project, id) = (client.clone(), project.clone(), id.clone());
            async move { client.source(&project, &id).await }
        })
    }

    /// Tells how far the drain of a node is, each time that something of the node changes, until it is drained or its
    /// drain has ended otherwise (then `status.drain` is absent). The stream ends after that, or with an error.
    pub fn follow_drain(&self, node: &str) -> Items<Node> {
        let mut waiter = Waiter::new(self, &ProjectName::default_project(), vec![Kind::Node]);
        // Nodes are of no project.
        waiter.query.project = None;
        let state = NodeState {
            name: node.to_owned(),
            node: None,
        };
        let (client, name) = (self.clone(), node.to_owned());
        waiter.follow(state, move || {
            let (client, name) = (client.clone(), name.clone());
            async move { client.node(&name).await }
        })
    }

    /// Tells how an app is, each time that something of it changes. The stream ends with an error only: when the app
    /// is gone, or the platform away for too long.
    pub fn follow_app(&self, project: &ProjectName, app: &AppName) -> Items<App> {
        let waiter = Waiter::new(self, project, vec![Kind::App]);
        let (client, project, app) = (self.clone(), project.clone(), app.clone());
        let state = AppState {
            name: app.to_string(),
            app: None,
        };
        waiter.follow(state, move || {
            let (client, project, app) = (client.clone(), project.clone(), app.clone());
            async move { client.app(&project, &app).await }
        })
    }
}

/// What is made of changes.
trait State: Send + 'static {
    type Told: Send + 'static;
    /// Forgets everything.
    fn reset(&mut self);
    /// Takes a change in; answers whether it concerns what is waited for.
    fn take(&mut self, change: Change) -> bool;
    /// What to tell; none when what is waited for is not there.
    fn told(&self) -> Option<Self::Told>;
    fn is_over(told: &Self::Told) -> bool;
}

struct Waiter {
    client: Client,
    query: EventQuery,
    changes: Option<BoxStream<'static, Result<Change>>>,
    synced: bool,
    retry: Retry,
}

impl Waiter {
    fn new(client: &Client, project: &ProjectName, kinds: Vec<Kind>) -> Self {
        Self {
            client: client.clone(),
            query: EventQuery {
                project: Some(project.clone()),
                kinds,
                after: None,
            },
            changes: None,
            synced: false,
            retry: Retry::default(),
        }
    }

    /// `ask` fetches what is waited for when the events do not tell of it: it is gone, or was never there, and the
    /// platform's answer says so better than anything made up here.
    fn follow<S, F, R>(self, state: S, ask: F) -> Items<S::Told>
    where
        S: State,
        F: Fn() -> R + Send + 'static,
        R: Future<Output = Result<S::Told>> + Send + 'static,
    {
        stream::unfold(Some((self, state, ask)), |going| async {
            let (mut waiter, mut state, ask) = going?;
            let told = match waiter.next(&mut state).await {
                Ok(Some(told)) => Ok(told),
                Ok(None) => ask().await,
                Err(error) => Err(error),
            };
            let goes_on = told.as_ref().is_ok_and(|told| !S::is_over(told));
            Some((told, goes_on.then_some((waiter, state, ask))))
        })
        .boxed()
    }

    /// What to tell next; none when what is waited for does not exist.
    async fn next<S: State>(&mut self, state: &mut S) -> Result<Option<S::Told>> {
        loop {
            let error = match self.step(state).await {
                Ok(true) => {
                    self.retry.succeeded();
                    return Ok(state.told());
                }
                Ok(false) => continue,
                Err(error) => error,
            };
            self.changes = None;
            self.retry.pause(error).await?;
        }
    }

    /// Takes one change in; answers whether there is something to tell.
    async fn step<S: State>(&mut self, state: &mut S) -> Result<bool> {
        let changes = match &mut self.changes {
            Some(changes) => changes,
            None => {
                let changes = self.client.events(&self.query).await?;
                state.reset();
                self.synced = false;
                self.changes.insert(changes.boxed())
            }
        };
        let Some(change) = changes.next().await else {
            return Err(self.client.interrupted());
        };
        match change? {
            Change::Synced => {
                self.synced = true;
                Ok(true)
            }
            Change::Reset => {
                state.reset();
                self.synced = false;
                Ok(false)
            }
            change => Ok(state.take(change) && self.synced),
        }
    }
}

struct ReleaseState {
    app: AppName,
    number: ReleaseNumber,
    release: Option<Release>,
    pods: BTreeMap<String, Pod>,
}

impl State for ReleaseState {
    type Told = Rollout;

    fn reset(&mut self) {
        self.release = None;
        self.pods.clear();
    }

    fn take(&mut self, change: Change) -> bool {
        match change {
            Change::Applied(AnyObject::Release(release)) => {
                let is_it = release.spec.app == self.app && release.spec.number == self.number;
                if is_it {
                    self.release = Some(*release);
                }
                is_it
            }
            Change::Applied(AnyObject::Pod(pod)) => {
                let is_its = pod.spec.app.as_ref() == Some(&self.app)
                    && pod.spec.release == Some(self.number);
                if is_its {
                    self.pods.insert(pod.metadata.name.clone(), *pod);
                }
                is_its
            }
            Change::Deleted(gone) if gone.kind == Kind::Pod => {
                self.pods.remove(&gone.name).is_some()
            }
            Change::Deleted(gone) if gone.kind == Kind::Release => {
                let is_it =
                    gone.app.as_ref() == Some(&self.app) && gone.name == self.number.to_string();
                if is_it {
                    self.release = None;
                }
                is_it
            }
            _ => false,
        }
    }

    fn told(&self) -> Option<Rollout> {
        Some(Rollout {
            release: self.release.clone()?,
            pods: self.pods.values().cloned().collect(),
        })
    }

    fn is_over(told: &Rollout) -> bool {
        told.is_over()
    }
}

struct BuildState {
    app: AppName,
    number: u32,
    build: Option<Build>,
}

impl State for BuildState {
    type Told = Build;

    fn reset(&mut self) {
        self.build = None;
    }

    fn take(&mut self, change: Change) -> bool {
        match change {
            Change::Applied(AnyObject::Build(build)) => {
                let is_it = build.spec.app == self.app && build.spec.number == self.number;
                if is_it {
                    self.build = Some(*build);
                }
                is_it
            }
            Change::Deleted(gone) if gone.kind == Kind::Build => {
                let is_it = gone.app.as_ref() == Some(&self.app)
                    && gone.name == format!("b{}", self.number);
                if is_it {
                    self.build = None;
                }
                is_it
            }
            _ => false,
        }
    }

    fn told(&self) -> Option<Build> {
        self.build.clone()
    }

    fn is_over(told: &Build) -> bool {
        told.status.phase.is_final()
    }
}

struct SourceState {
    id: SourceId,
    source: Option<Source>,
}

impl State for SourceState {
    type Told = Source;

    fn reset(&mut self) {
        self.source = None;
    }

    fn take(&mut self, change: Change) -> bool {
        match change {
            Change::Applied(AnyObject::Source(source)) => {
                let is_it = source.metadata.name == self.id.as_str();
                if is_it {
                    self.source = Some(*source);
                }
                is_it
            }
            Change::Deleted(gone) if gone.kind == Kind::Source => {
                let is_it = gone.name == self.id.as_str();
                if is_it {
                    self.source = None;
                }
                is_it
            }
            _ => false,
        }
    }

    fn told(&self) -> Option<Source> {
        self.source.clone()
    }

    fn is_over(told: &Source) -> bool {
        told.status.phase.is_final()
    }
}

struct NodeState {
    name: String,
    node: Option<Node>,
}

impl State for NodeState {
    type Told = Node;

    fn reset(&mut self) {
        self.node = None;
    }

    fn take(&mut self, change: Change) -> bool {
        match change {
            Change::Applied(AnyObject::Node(node)) if node.metadata.name == self.name => {
                self.node = Some(*node);
                true
            }
            Change::Deleted(gone) if gone.kind == Kind::Node && gone.name == self.name => {
                self.node = None;
                true
            }
            _ => false,
        }
    }

    fn told(&self) -> Option<Node> {
        self.node.clone()
    }

    fn is_over(told: &Node) -> bool {
        let drain = told.status.drain.as_ref();
        drain.is_none_or(|drain| drain.phase == DrainPhase::Drained)
    }
}

struct AppState {
    name: String,
    app: Option<App>,
}

impl State for AppState {
    type Told = App;

    fn reset(&mut self) {
        self.app = None;
    }

    fn take(&mut self, change: Change) -> bool {
        match change {
            Change::Applied(AnyObject::App(app)) if app.metadata.name == self.name => {
                self.app = Some(*app);
                true
            }
            Change::Deleted(gone) if gone.kind == Kind::App && gone.name == self.name => {
                self.app = None;
                true
            }
            _ => false,
        }
    }

    fn told(&self) -> Option<App> {
        self.app.clone()
    }

    fn is_over(_told: &App) -> bool {
        false
    }
}
