//! The controllers: what makes desired state so.
