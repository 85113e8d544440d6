//! Bytes <-> model: what is on the bus, and nothing about how it gets there.
//!
//! Values are Avro in single-object encoding (`C3 01`, the schema's CRC-64-AVRO fingerprint in little-endian
//! order, the datum); readings may be JSON too, told by their first byte. The schemas of `schemas/` are part
//! of the program. A datum by an older released schema is resolved to the current one first.
//!
//! With a schema registry values are in the Confluent wire format instead (`00`, 4-byte schema id, datum): [`ids`]
//! exchanges the one head for the other by a table that comes in as a value. Without one its first byte is
//! `unknown_schema`.
//!
//! - [`reading`]: `ops.metrics`, the hot path and the only bytes that strangers write; [`json`] is its other form.
//! - [`incident`], [`action`], [`service`], [`state`], [`rejected`], [`target`]: one topic each (`state` two).
//! - [`ids`]: the schema ids of a registry.
//! - [`format`](mod@format): header, fingerprint, older schemas; [`binary`]: Avro's primitives; [`flat`]: serde <-> datum.
//!
//! The same model gives the same bytes, always: maps are written sorted by key. Incidents rely on it.

pub mod action;
mod binary;
mod flat;
pub mod format;
pub mod ids;
pub mod incident;
mod json;
pub mod reading;
pub mod rejected;
pub mod service;
pub mod state;
pub mod target;

use format::Format;
use std::sync::LazyLock;

/// Why bytes of our own topics could not be read. (Readings, which strangers write, have
/// [`crate::model::reading::RejectReason`] instead.)
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No single-object header.
    #[error("{record} is not in avro single-object encoding")]
    NotSingleObject {
        /// Name of the schema that was expected.
        record: &'static str,
    },
    /// A header with another fingerprint than those of the released schemas.
    #[error("{record} was written by an unknown schema, fingerprint {fingerprint:016x}")]
    UnknownSchema {
        /// Name of the schema that was expected.
        record: &'static str,
        /// CRC-64-AVRO of the writer's schema.
        fingerprint: u64,
    },
    /// The bytes end before the datum does.
    #[error("{record} is truncated")]
    Truncated {
        /// Name of the schema that was expected.
        record: &'static str,
    },
    /// Bytes follow the datum.
    #[error("{record} is followed by {bytes} more bytes")]
    TrailingBytes {
        /// Name of the schema that was expected.
        record: &'static str,
        /// How many.
        bytes: usize,
    },
    /// The datum, or what it says, is not possible.
    #[error("{record} is malformed: {reason}")]
    Malformed {
        /// Name of the schema that was expected.
        record: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Defines the formats: name, current schema, released schemas.
macro_rules! formats {
    ($($name:ident = $file:literal [$($released:literal),*];)*) => {
        $(pub(crate) static $name: LazyLock<Format> = LazyLock::new(|| Format::new(
            $file,
            include_str!(concat!("../../schemas/", $file, ".avsc")),
            &[$(include_str!(concat!("../../schemas/released/", $file, ".", $released, ".avsc"))),*],
        ));)*
        /// Every format that is on the bus.
        pub fn formats() -> Vec<&'static Format> {
            vec![$(&*$name),*]
        }
    };
}

formats! {
    READING = "reading" ["v1"];
    SERVICE_SPEC = "service_spec" ["v1"];
    INCIDENT = "incident" ["v1"];
    ROLLUP = "rollup" ["v1"];
    STATE = "state" ["v1"];
    REJECTED = "rejected" ["v1"];
    ACTION = "action" ["v1"];
    TARGET = "target" ["v1"];
}

#[cfg(test)]
mod tests {
    use super::Format;
    use super::format::HEADER_LENGTH;

    /// What we write by hand is a datum for apache-avro too, to the last byte.
    pub(super) fn apache_avro_reads(format: &Format, value: &[u8]) {
        let mut datum = &value[HEADER_LENGTH..];
        apache_avro::from_avro_datum(format.schema(), &mut datum, None).unwrap();
        assert!(datum.is_empty(), "{} bytes too many", datum.len());
    }
}
