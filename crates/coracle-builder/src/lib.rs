//! Source to build plan: safe unpacking of uploads, ignore rules, Dockerfile detection.
