//! `coracle.toml` and `Procfile`.
