//! Coracle's controllers: reconcile loops from desired and observed state to actions.
