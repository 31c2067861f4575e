//! The cases, by the part of the law that they ask for.

pub(super) mod connections;
pub(super) mod describing;
pub(super) mod health;
pub(super) mod images;
pub(super) mod lives;
pub(super) mod network;
pub(super) mod nodes;
pub(super) mod stopping;
pub(super) mod streams;
pub(super) mod tasks;
pub(super) mod usage;
pub(super) mod watching;
pub(super) mod wishes;
