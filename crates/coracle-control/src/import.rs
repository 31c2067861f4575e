//! What an import does here: plan first, then write.
//!
//! Theory of operation: [`Control::plan_import`] checks every record of the archive ([`check`]), says what would become
//! of each thing in it ([`plan`]), and changes nothing. Only then is written ([`apply`]): projects and users first, and
//! each app in one write with its releases and host names, or not at all. Every step finds out by itself that it was done
//! before, so an import that was cut off is simply run again: an app whose newest release is as the archive's live one,
//! with the same variables, scale and host names, is the archive's app already.
//!
//! An app arrives ([`arrival`]) as a release to be deployed: its pods, its release command and its health are this
//! platform's matter, and when it does not work here, that is told as for any other release.

pub mod apply;
mod arrival;
mod check;
pub mod plan;
