//! The controllers: what makes desired state so.
//!
//! Theory of operation: a controller is a set of keys (apps, pods, …) and one function that takes a key, reads
//! what is desired and what is observed, lets a pure planner of `coracle_model::plan` decide, and does what the
//! plan says. It is given no input but the key: why it was woken does not matter, and so it may be woken too
//! often, late, or after a restart. It can be killed at any line and run again.
//!
//! | module | what is in it |
//! |---|---|
//! | [`runner`] | runs a controller: one run per key at a time, backoff, rescans, status |
//! | [`queue`] | which key runs when |
//! | [`wake`] | from changes of the store and the engine to keys |
//! | [`scene`] | what all controllers are given: the control plane, a clock, the policy |
//! | [`app`], [`wishes`], [`image`] | rollouts; what the engine was told; which image a release runs |
//! | [`route`], [`drain`] | where each host goes; which stopping pods are free of requests |
//! | [`node`] | cordons and drains of nodes |
//! | [`source`] | fetches sources and looks through them |
//! | [`build`], [`build_run`] | which build runs; one run of a build |
//! | [`pod`], [`pod_action`] | bare pods and one-off commands; restarts and deletions of other pods |
//! | [`usage`] | samples of what everything uses |
//! | [`settings`] | what a change of the platform's settings asks for |
//! | [`project`], [`sweep`], [`collection`] | networks; retention; what nothing in the registry needs |

pub mod app;
pub mod build;
pub mod build_run;
pub mod change;
pub mod collection;
pub mod drain;
pub mod image;
pub mod key;
pub mod node;
pub mod pod;
pub mod pod_action;
pub mod project;
pub mod queue;
pub mod release_status;
pub mod route;
pub mod runner;
pub mod scene;
pub mod settings;
pub mod source;
pub mod sweep;
pub mod usage;
pub mod wake;
pub mod wishes;

use std::sync::Arc;

use coracle_task::Supervisor;

use crate::control::Control;
use runner::{ControllerStatus, Running};
pub use scene::{Clock, Options, Scene};

/// The running controllers. They end with the supervisor that they were started under.
#[derive(Clone)]
pub struct Controllers {
    running: Arc<Vec<Arc<dyn Running>>>,
}

impl std::fmt::Debug for Controllers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.statuses()).finish()
    }
}

impl Controllers {
    /// Starts every controller. Only one process may do so for one store at a time.
    #[must_use]
    pub fn start(control: Control, options: Options, supervisor: &Supervisor) -> Self {
        let supervisor = supervisor.child("controllers");
        let scene = Arc::new(Scene::new(control, options, supervisor.clone()));
        let ledger = drain::SharedLedger::default();
        let cleared = source::Cleared::default();
        let mut apps = None;
        let app = runner::start(&scene, |kick| {
            apps = Some(kick.clone());
            app::AppController::new(&scene, kick)
        });
        let running: Vec<Arc<dyn Running>> = vec![
            app,
            runner::start(&scene, |_| node::NodeController::new(&scene, apps)),
            runner::start(&scene, |_| {
                route::RouteController::new(&scene, ledger.clone())
            }),
            runner::start(&scene, |_| {
                drain::DrainController::new(&scene, ledger.clone())
            }),
            runner::start(&scene, |_| {
                source::SourceController::<source::Here>::new(&scene, &cleared)
            }),
            runner::start(&scene, |_| {
                source::SourceController::<source::Elsewhere>::new(&scene, &cleared)
            }),
            runner::start(&scene, |kick| build::BuildController::new(&scene, kick)),
            runner::start(&scene, |_| pod::PodController::new(&scene)),
            runner::start(&scene, |_| pod_action::PodActionController::new(&scene)),
            runner::start(&scene, |_| project::ProjectController::new(&scene)),
            runner::start(&scene, |_| settings::SettingsController::new(&scene)),
            runner::start(&scene, |_| sweep::SweepController::new(&scene)),
            runner::start(&scene, |_| collection::CollectionController::new(&scene)),
            usage::start(&scene),
        ];
        let running = Arc::new(running);
        wake::start(&scene, Arc::clone(&running));
        Self { running }
    }

    /// How each controller is.
    #[must_use]
    pub fn statuses(&self) -> Vec<ControllerStatus> {
        self.running.iter().map(|one| one.status()).collect()
    }
}
