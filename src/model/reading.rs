//! A reading: one value of one sensor of one service at one event time, and why one is refused.
//!
//! It borrows its texts from the record that it was read from, so that the hot path allocates nothing. Made by the
//! codec and by whoever emits; read by the core.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{TICK_SENSOR, TICK_SERVICE, is_sensor_name, is_service_id};

/// Attributes of a reading, by name. Without any there is no allocation.
pub type Attributes<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// One reading, as decoded from a record of `ops.metrics` and before it is judged against a spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<'a> {
    /// Id of the service (from the value, else from the record's key).
    pub service: Cow<'a, str>,
    /// Name of the sensor.
    pub sensor: Cow<'a, str>,
    /// Event time, ms since the Unix epoch, set where it was measured.
    pub ts: i64,
    /// Any number; -0.0 was made 0.0. What is not finite never counts ([`Reading::fault`]).
    pub value: f64,
    /// Decide nothing; handed to actions (`pod`, `version`, ...).
    pub attributes: Attributes<'a>,
}

impl Reading<'_> {
    /// Do service and sensor follow their naming rules? A tick does.
    pub fn is_named_well(&self) -> bool {
        let is_tick = self.service == TICK_SERVICE && self.sensor == TICK_SENSOR;
        is_tick || (is_service_id(&self.service) && is_sensor_name(&self.sensor))
    }

    /// What is wrong with the numbers of this reading, whatever its spec.
    pub fn fault(&self) -> Option<RejectReason> {
        if !self.value.is_finite() {
            Some(RejectReason::ValueNotFinite)
        } else if self.ts <= 0 {
            Some(RejectReason::TsInvalid)
        } else {
            None
        }
    }

    /// The same, for longer than the record lives.
    pub fn into_owned(self) -> Reading<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Reading {
            service: owned(self.service),
            sensor: owned(self.sensor),
            ts: self.ts,
            value: self.value,
            attributes: self.attributes.into_iter().map(|(name, text)| (owned(name), owned(text))).collect(),
        }
    }
}

/// Why a record of `ops.metrics` was refused. The order is the order in which the reasons are looked for:
/// the first that applies is the one that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The first byte belongs to no encoding that is known.
    BadMagic,
    /// Avro, by a schema that is not known.
    UnknownSchema,
    /// The value ends before its reading does (an empty value included).
    Truncated,
    /// Bytes follow the reading.
    TrailingBytes,
    /// The value is larger than 32 KiB; or the whole record is larger than 64 KiB and not in its home partition, to which
    /// it cannot be moved.
    TooLarge,
    /// The record has no value.
    NullValue,
    /// Not readable in the encoding that its first byte announces.
    Malformed,
    /// Service or sensor breaks the naming rule, or there is none.
    BadName,
    /// NaN or an infinity.
    ValueNotFinite,
    /// `ts` is zero or negative.
    TsInvalid,
    /// More than 5 s ahead of the record's own append time.
    TsFuture,
    /// No spec is active for this service.
    UnknownService,
    /// The service's spec does not declare this sensor.
    UnknownSensor,
    /// The partition holds as many series as it may.
    SeriesLimit,
    /// So old that no window of the service can hold it any more.
    TsLate,
}

impl RejectReason {
    /// Every reason, in order.
    pub const ALL: [Self; 15] = [
        Self::BadMagic,
        Self::UnknownSchema,
        Self::Truncated,
        Self::TrailingBytes,
        Self::TooLarge,
        Self::NullValue,
        Self::Malformed,
        Self::BadName,
        Self::ValueNotFinite,
        Self::TsInvalid,
        Self::TsFuture,
        Self::UnknownService,
        Self::UnknownSensor,
        Self::SeriesLimit,
        Self::TsLate,
    ];

    /// The name on the bus, in metrics and in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadMagic => "bad_magic",
            Self::UnknownSchema => "unknown_schema",
            Self::Truncated => "truncated",
            Self::TrailingBytes => "trailing_bytes",
            Self::TooLarge => "too_large",
            Self::NullValue => "null_value",
            Self::Malformed => "malformed",
            Self::BadName => "bad_name",
            Self::ValueNotFinite => "value_not_finite",
            Self::TsInvalid => "ts_invalid",
            Self::TsFuture => "ts_future",
            Self::UnknownService => "unknown_service",
            Self::UnknownSensor => "unknown_sensor",
            Self::SeriesLimit => "series_limit",
            Self::TsLate => "ts_late",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
