//! The verbs, one file for each group.

pub(crate) mod apps;
pub(crate) mod builds;
pub(crate) mod completions;
pub(crate) mod deploy;
pub(crate) mod doctor;
pub(crate) mod domains;
pub(crate) mod down;
pub(crate) mod env;
pub(crate) mod exec;
pub(crate) mod images;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod open;
pub(crate) mod pods;
pub(crate) mod projects;
pub(crate) mod ps;
pub(crate) mod releases;
pub(crate) mod rollout;
pub(crate) mod scale;
pub(crate) mod session;
pub(crate) mod terminal;
pub(crate) mod tokens;
pub(crate) mod up;
pub(crate) mod users;
pub(crate) mod volumes;
