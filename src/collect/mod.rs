//! Readings from outside: what services say of themselves becomes readings on `ops.metrics`. Started by `ops collect`.
//!
//! - [`scrape`]: asks the targets of registered sensors.

pub mod scrape;
