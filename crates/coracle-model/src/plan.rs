//! Pure planning: desired state + observed state + now → actions with reasons.
