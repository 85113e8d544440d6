//! The processor: readings in, incidents out, exactly once.
//!
//! `core` (a partition; `index`: which series, `grid`: which instants) -> `service` (a service at an instant; `series`:
//! its readings; `ahead`: fetched in time) -> `incident` (the machine of a cause) decide and are pure; `cut` turns their state into records and back. The worker around them carries effects out.

pub mod ahead;
pub mod audit;
pub mod backtest;
pub mod core;
pub mod counts;
mod cut;
mod error;
pub mod evidence;
pub mod explain;
mod front;
mod gap;
mod grid;
mod group;
pub mod incident;
pub mod index;
mod marks;
mod metadata;
mod publish;
mod read;
mod registry;
pub mod replay;
mod restore;
mod rollups;
mod series;
mod service;
pub mod specs;
mod task;
pub mod words;
mod worker;

pub use cut::{Cut, RestoreError};
pub use error::Error;
pub use group::{Processor, ProcessorOptions};
pub use marks::CutMark;
pub use metadata::Metadata;
pub use publish::PARTITION_KEY;
pub use rollups::Rollups;
