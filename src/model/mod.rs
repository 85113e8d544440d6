//! The pure words of the system: what a reading, a spec, an incident and an action *are*.
//!
//! No I/O, no clock, no logging. Everything else in the crate speaks in these types.

pub mod action;
pub mod decimals;
pub mod ids;
pub mod incident;
pub mod network;
pub mod reading;
pub mod registration;
pub mod rejected;
pub mod spec;
pub mod state;
pub mod target;
pub mod topic_files;
pub mod topics;

pub use ids::{ActionId, IncidentId, ServiceId, SpecHash};
