//! How readings come in that no client of ours has sent. Called by `ops collect`.
//!
//! - [`scrape`]: asks the targets of registered sensors.
//! - [`receive`]: JSON, Prometheus remote write, OTLP: one HTTP service.

pub mod receive;
pub mod scrape;
