//! What an engine tells of the use of everything at once.

use coracle_model::usage::Reading;
use coracle_model::workload::PodId;

/// What pods and nodes use, as it was read at one look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineUsage {
    /// Pods that run, in any order, as far as they could be read.
    pub pods: Vec<(PodId, Reading)>,
    /// Nodes by their names, in any order, as far as they could be read: all that runs on them.
    pub nodes: Vec<(String, Reading)>,
}
