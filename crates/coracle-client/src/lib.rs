//! Typed client of Coracle's API.
