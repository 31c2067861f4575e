//! Docker Engine as Coracle's engine.
