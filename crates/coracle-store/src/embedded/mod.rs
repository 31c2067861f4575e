//! The store of one machine.
