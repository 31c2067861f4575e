//! The laws of [`Engine`](crate::Engine) as a suite that any engine is put through.
//!
//! Theory of operation: a port comes with its law. An implementation gives a [`Factory`] (a fresh platform for
//! each case, and ways to break it from outside) and gets every case as a test of its own from
//! [`engine_conformance!`](crate::engine_conformance). All cases use one image, the project's test image
//! (`images/test`), with real command lines; nothing waits for a time to pass, everything waits for something to
//! be observed, within [`World::patience`]. (In commands: `timeout 5 wget …`, as BusyBox's own `wget -T`, linked
//! statically, crashes when it looks up a name.) So the same suite runs against a daemon and in virtual time.
//!
//! ```text
//! coracle_engine::engine_conformance!(#[tokio::test(start_paused = true)] SimFactory::default());
//! ```

mod bench;
mod cases;
mod sim;
mod watcher;

pub use bench::{Bench, Given, run_command};
pub use sim::{SimFactory, TestedWorld};
pub use watcher::{Seen, Watcher, until};

/// Every case, each `async fn(&Bench)`.
pub mod case {
    pub use super::cases::connections::*;
    pub use super::cases::describing::*;
    pub use super::cases::health::*;
    pub use super::cases::images::*;
    pub use super::cases::lives::*;
    pub use super::cases::network::*;
    pub use super::cases::nodes::*;
    pub use super::cases::stopping::*;
    pub use super::cases::streams::*;
    pub use super::cases::tasks::*;
    pub use super::cases::usage::*;
    pub use super::cases::watching::*;
    pub use super::cases::wishes::*;
}

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coracle_model::name::ImageRef;
use coracle_model::workload::PodId;

use crate::engine::{Engine, Support};

/// Makes platforms to test on.
#[async_trait]
pub trait Factory: Send + Sync {
    /// A fresh platform, apart from all others: nothing of theirs is seen in it.
    async fn world(&self) -> Box<dyn World>;
}

/// One platform, and ways to break it from outside.
#[async_trait]
pub trait World: Send + Sync {
    /// The engine of a control plane that begins now: without wishes, on what exists. The one given before is
    /// dead from then on, as by SIGKILL: nothing that it had only in memory is carried over.
    async fn engine(&self) -> Arc<dyn Engine>;

    /// The test image.
    fn image(&self) -> ImageRef;

    /// The most that a case waits for one thing.
    fn patience(&self) -> Duration;

    /// Between two probes of health: short, but kept by the engine under load.
    fn probe_interval(&self) -> Duration {
        Duration::from_millis(500)
    }

    /// Engines that are given from now on cannot reach what they drive, until [`World::reconnect`]. Answers whether that
    /// can be done here.
    async fn cut_off(&self) -> Support {
        Support::No
    }

    /// Ends what [`World::cut_off`] began.
    async fn reconnect(&self) {}

    /// Removes a pod behind the engine's back (`docker rm -f`).
    async fn vanish(&self, pod: &PodId);

    /// Kills a pod's command from outside (`kill -9` of its process).
    async fn kill(&self, pod: &PodId);

    /// Are projects kept from reaching each other's addresses?
    fn isolation(&self) -> Support {
        Support::No
    }

    /// Are limits of memory enforced?
    fn memory_limits(&self) -> Support {
        Support::Yes
    }

    /// May this world's nodes be cordoned without a harm to other worlds? Where worlds share their nodes, the cases
    /// that cordon do nothing, and a factory of worlds that are alone runs them apart.
    fn owns_nodes(&self) -> Support {
        Support::Yes
    }

    /// An image to ask [`Engine::resolve_image`] for: at a registry where the engine has no images of its own.
    async fn resolvable(&self) -> ImageRef {
        self.image()
    }

    /// Where builds can be pushed to, with a tag that is not taken; nothing when this world has no registry.
    async fn push_target(&self) -> Option<ImageRef> {
        None
    }

    /// What a Dockerfile of these cases begins with: the test image, where builds find it.
    async fn build_base(&self) -> ImageRef {
        self.image()
    }

    /// Puts something beside the platform that is not its own, similar to a pod of project `default` and in use. Answers
    /// whether it is still as it was, when asked. Nothing when there is no such thing here.
    async fn foreign(&self) -> Option<Box<dyn Foreign>> {
        None
    }

    /// Names of all that the platform still has: pods, networks. Volumes stay until they are removed.
    async fn leftovers(&self) -> Vec<String>;

    /// Takes everything away. Called at the end of a case that passed; a factory cleans up after the others when
    /// its world is dropped.
    async fn close(&self);
}

/// Something that is not the platform's.
#[async_trait]
pub trait Foreign: Send + Sync {
    /// Is it as it was? Then takes it away.
    async fn untouched(self: Box<Self>) -> Result<(), String>;
}

/// One `#[tokio::test]` for each case of the suite, or all of them in a row.
#[macro_export]
macro_rules! engine_conformance {
    // Where there may be nothing to test on: an optional factory.
    (#[$attr:meta] where $factory:expr) => {
        $crate::engine_conformance! { @list optional #[$attr] $factory }
    };
    (#[$attr:meta] $factory:expr) => {
        $crate::engine_conformance! { @list tests #[$attr] $factory }
    };
    (@optional #[$attr:meta] $factory:expr ; $($case:ident)*) => {
        $(
            #[$attr]
            async fn $case() {
                let Some(factory) = $factory else { return };
                let bench = $crate::conformance::Bench::open(&factory).await;
                $crate::conformance::case::$case(&bench).await;
                bench.close().await;
            }
        )*
    };
    (@tests #[$attr:meta] $factory:expr ; $($case:ident)*) => {
        $(
            #[$attr]
            async fn $case() {
                let bench = $crate::conformance::Bench::open(&$factory).await;
                $crate::conformance::case::$case(&bench).await;
                bench.close().await;
            }
        )*
    };
    (@run $factory:ident ; $($case:ident)*) => {
        $(
            tracing::info!(case = stringify!($case), "conformance");
            let bench = $crate::conformance::Bench::open($factory).await;
            $crate::conformance::case::$case(&bench).await;
            bench.close().await;
        )*
    };
    (@list $mode:ident $($arguments:tt)*) => {
        $crate::engine_conformance! { @$mode $($arguments)* ;
            apply_is_idempotent
            scales_out_and_in
            the_last_wish_wins_under_a_burst
            removing_what_is_not_there_is_no_error
            a_new_generation_replaces_the_pods
            a_new_generation_waits_for_its_readiness
            a_new_generation_of_a_single_pod_keeps_its_name
            a_deleted_pod_is_replaced
            a_deleted_single_pod_stays_away
            a_restart_keeps_the_pod
            every_method_knows_unknown_pods
            an_image_that_is_not_there_shows_as_reason
            owner_and_environment_are_kept
            a_description_hides_the_values_of_variables
            a_vanished_pod_is_replaced
            a_killed_pod_is_started_again_in_place
            a_crash_loop_counts_and_says_why
            memory_used_up_is_said
            without_a_port_running_is_ready
            a_port_makes_it_ready
            a_good_http_answer_makes_it_ready
            what_never_listens_stays_starting_with_a_reason
            what_stops_answering_becomes_unready_and_ready_again
            what_is_unready_for_long_is_started_again
            a_stop_waits_until_it_is_drained
            a_stop_goes_on_when_the_drain_is_over
            a_draining_pod_still_serves
            drained_for_a_pod_that_stays_does_nothing
            what_ignores_sigterm_is_killed
            pods_of_a_life_before_are_left_alone
            pods_of_a_life_before_are_adopted_as_they_are
            pods_of_a_life_before_can_be_removed
            a_ready_pod_is_told_ready_by_a_new_engine
            a_new_life_mends_what_broke_between
            a_watch_begins_with_all_then_synced
            nothing_is_synced_before_it_could_be_read
            a_late_watcher_sees_what_an_early_one_sees
            a_slow_watcher_ends_up_right
            watchers_agree_under_change
            a_task_runs_once_and_keeps_its_status
            a_task_that_succeeds_is_exited
            a_removed_task_can_run_again
            attaching_loses_no_output
            attaching_twice_is_refused
            a_task_with_a_terminal_has_one
            logs_have_a_tail_and_an_end
            logs_follow_over_a_restart
            exec_gives_output_and_status
            exec_takes_input
            exec_has_a_terminal
            exec_in_what_does_not_run_is_refused
            bytes_go_both_ways
            bytes_go_both_ways_at_once
            a_connections_writer_waits_for_its_reader
            a_connections_two_directions_end_apart
            connecting_to_a_closed_port_fails
            a_connection_ends_with_its_pod
            many_connections_are_apart
            numbers_are_observed
            usage_tells_of_what_runs
            usage_leaves_out_what_has_ended
            usage_grows_with_work
            nodes_are_ready
            a_cordoned_node_gets_no_new_pods
            the_pods_of_a_cordoned_node_stay
            a_cordon_is_idempotent_and_outlives_the_engine
            an_unknown_node_cannot_be_cordoned
            replicas_are_spread
            a_pod_deleted_on_a_cordoned_node_comes_up_elsewhere
            names_lead_to_pods
            projects_are_apart
            a_removed_project_leaves_nothing
            addresses_are_unique_and_stay
            what_is_foreign_is_left_alone
            volumes_outlive_pods
            a_volume_in_use_is_not_removed
            a_local_image_is_resolved
            an_unknown_image_is_said_to_be_so
            a_build_makes_an_image_that_runs
            a_failed_build_says_why
            a_cancelled_build_ends
            a_build_whose_time_is_over_ends
            a_build_gets_its_source_and_arguments
        }
    };
}

/// Every case, one after another. Panics at the first that fails; in tests rather use
/// [`engine_conformance!`](crate::engine_conformance), which names them.
pub async fn run_all(factory: &dyn Factory) {
    crate::engine_conformance!(@list run factory);
}
