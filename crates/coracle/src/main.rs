//! Coracle: a private platform-as-a-service in one binary.
fn main() {}
