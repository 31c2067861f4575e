//! The laws of [`Store`](crate::Store) as a suite for any implementation.
