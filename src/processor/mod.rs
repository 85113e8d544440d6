//! The processor: readings in, incidents out, exactly once.
//!
//! `core` (a partition) -> `service` (a service at an instant) -> `incident` (the machine of a cause) decide and
//! are pure; `cut` turns their state into records and back. The worker around them carries effects out.

pub mod backtest;
pub mod core;
pub mod counts;
mod cut;
pub mod incident;
mod service;

pub use cut::RestoreError;
