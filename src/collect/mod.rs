//! How readings come in that no client of ours has sent: what speaks HTTP.
//!
//! - [`receive`]: JSON, Prometheus remote write, OTLP: one HTTP service.

pub mod receive;
