//! A simulated database.
