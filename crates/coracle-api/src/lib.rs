//! Coracle's HTTP API.
