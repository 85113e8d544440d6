//! The schema registry: what speaks HTTP with it, and what of it the bus carries.
//!
//! ```text
//! ops topics apply  -> subjects: level, compatibility, registration          (writes)
//! a service's start -> lookup: ids of our schemas, by subject                (reads; a subject that is missing ends it)
//! an unknown id     -> lookup: one thread asks, and asks again while the registry is down; who waits stands still
//! ```
//!
//! - [`client`]: the calls of the Confluent API that we make, over [`reqwest`].
//! - [`subjects`]: which schema belongs to which topic; what differs from what is declared.
//! - [`lookup`]: the table of ids of a running process ([`crate::bus::Schemas`]).
//!
//! Called by the command line, which builds the bus's settings with it. Nothing that decides knows it.

pub mod client;
pub mod lookup;
pub mod subjects;

pub use client::{Access, Client, Error};
pub use lookup::Lookup;
