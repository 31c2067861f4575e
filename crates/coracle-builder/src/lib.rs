//! Source to build plan: safe unpacking of uploads, ignore rules, Dockerfile detection.
//!
//! A folder becomes an archive on the machine of whoever deploys ([`scan()`], [`pack()`]), and a folder again on
//! the platform ([`unpack()`]), which then decides how it is built ([`plan()`]). Both sides are one crate because
//! both follow the same rules: what may be in a source, how large it may be, and what `.dockerignore` leaves out.
//!
//! | module | what is in it |
//! |---|---|
//! | [`limits`] | the most that a source may have |
//! | [`mod@scan`], [`mod@pack`] | a folder as a stream of compressed tar, the same bytes for the same content |
//! | [`mod@unpack`] | a compressed tar from anybody as a private folder |
//! | [`mod@plan`] | what to build, and how what comes of it is run |
//! | [`mod@prune`] | an unpacked source without what its `.dockerignore` names |
//! | [`mod@detect`] | what is found in a source before anybody builds it |
//! | [`git`] | a commit of a Git repository as an archive |
//! | [`template`] | sources that come with the platform |
//! | [`dockerignore`] | Docker's ignore rules |
//! | [`language`] | which language a source without a Dockerfile is in |
//! | [`error`] | why a source was refused |

mod archive;
pub mod detect;
pub mod dockerignore;
pub mod error;
mod folder;
pub mod git;
mod glob;
pub mod language;
pub mod limits;
mod links;
mod meter;
pub mod pack;
pub mod plan;
pub mod prune;
pub mod scan;
pub mod template;
pub mod unpack;
pub mod walk;

pub use detect::{Inspected, inspect};
pub use error::{Refusal, SourceError};
pub use limits::{Limit, Limits};
pub use pack::{PackProgress, pack};
pub use plan::{BuildPlan, plan};
pub use prune::prune;
pub use scan::{PackError, Scan, scan, scan_context};
pub use unpack::{Unpacked, unpack};
pub use walk::{ArchiveFile, walk};
