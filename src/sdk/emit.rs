//! Readings onto `ops.metrics`: checked against the catalog, sent to their home partition, acknowledged, counted.
//!
//! A reading is refused here only for what would surely have it rejected by the processor; whether it is late, or
//! too far ahead, only the processor's clock can say. Called by `ops emit` and the demo. Who must not be kept waiting uses
//! [`super::buffer`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Catalog, Error, UnknownService, did_you_mean};
use crate::bus::{Flushed, Offsets, Producer, Record, Settings};
use crate::codec;
use crate::model::ServiceId;
use crate::model::ids::home_partition;
use crate::model::reading::{Reading, RejectReason};
use crate::model::topics::Topics;
use crate::spec::suggest;

/// How many readings may be on their way; more wait.
const MAX_IN_FLIGHT: usize = 10_000;
/// How long a reading waits for room, and the last ones for their acknowledgement.
const PATIENCE: Duration = Duration::from_secs(30);
/// An unknown name is looked up again in a catalog that is older than this.
pub(super) const CATALOG_AGE: Duration = Duration::from_secs(5);

/// Why a reading was not sent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// No such service is registered.
    #[error(transparent)]
    UnknownService(#[from] UnknownService),
    /// The service's spec does not declare this sensor.
    #[error("{service} has no sensor {name:?}{}", did_you_mean(.near))]
    UnknownSensor {
        /// The service.
        service: ServiceId,
        /// As it was given.
        name: String,
        /// A declared one that was probably meant.
        near: Option<String>,
    },
    /// NaN or an infinity.
    #[error("{value} is not finite")]
    NotFinite {
        /// The value.
        value: f64,
    },
    /// Event times are above 0.
    #[error("{ts} ms is no event time: they are above 0")]
    TsInvalid {
        /// The time, ms.
        ts: i64,
    },
    /// A program that makes names up: only [`super::buffer`] remembers them, and only so many.
    #[error(
        "this program has used {limit} names of sensors, which must be a mistake: what varies belongs into attributes"
    )]
    TooManyNames {
        /// As many are remembered.
        limit: usize,
    },
    /// With its attributes the reading is larger than the processor takes.
    #[error("the reading is {bytes} bytes long and may be {}", codec::reading::MAX_VALUE_LENGTH)]
    TooLarge {
        /// Its length on the bus.
        bytes: usize,
    },
}

/// What became of the readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged by the cluster.
    pub delivered: u64,
    /// Not sent: see [`Refused`].
    pub refused: u64,
    /// Sent and refused by the cluster, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Sent and not acknowledged in time: they may arrive or not.
    pub pending: u64,
}

impl Counts {
    /// Is every reading delivered?
    pub fn is_complete(&self) -> bool {
        self.refused == 0 && self.failed.is_empty() && self.pending == 0
    }
}

/// See the module.
pub struct Emitter {
    settings: Settings,
    topics: Topics,
    offsets: Offsets,
    producer: Producer,
    partitions: i32,
    catalog: Catalog,
    read_at: Instant,
    sent: u64,
    refused: u64,
}

impl Emitter {
    /// Reads the catalog; nothing is sent.
    ///
    /// # Errors
    /// The bus.
    pub fn open(settings: &Settings, topics: &Topics) -> Result<Self, Error> {
        let offsets = Offsets::new(settings)?;
        Ok(Self {
            producer: Producer::new(settings, MAX_IN_FLIGHT)?,
            partitions: offsets.partitions(&topics.metrics)?,
            catalog: Catalog::read(settings, &offsets, topics)?,
            read_at: Instant::now(),
            settings: settings.clone(),
            topics: topics.clone(),
            offsets,
            sent: 0,
            refused: 0,
        })
    }

    /// Checks a reading and queues it. Waits while too many are on their way. The inner result is the check's.
    ///
    /// # Errors
    /// The bus: the reading was not taken.
    pub fn emit(&mut self, reading: &Reading<'_>) -> Result<Result<(), Refused>, Error> {
        let value = match self.check(reading)? {
            Ok(value) => value,
            Err(refused) => {
                self.refused += 1;
                return Ok(Err(refused));
            }
        };
        let partition = home_partition(&reading.service, self.partitions);
        let key = Some(reading.service.as_bytes());
        let record = Record { topic: &self.topics.metrics, partition, key, value: Some(&value), ..Record::default() };
        self.producer.send(&record, PATIENCE)?;
        self.sent += 1;
        Ok(Ok(()))
    }

    /// Readings that were queued so far, and those among them that are still on their way.
    pub fn progress(&self) -> (u64, usize) {
        (self.sent, self.producer.in_flight())
    }

    /// Waits for the acknowledgements; says what became of all readings since the last call.
    pub fn flush(&mut self) -> Counts {
        let Flushed { delivered, failed, pending } = self.producer.flush(PATIENCE);
        Counts { delivered, refused: std::mem::take(&mut self.refused), failed, pending }
    }

    /// The value on the bus of a reading that may be sent. A name that is not known may have been registered a
    /// moment ago.
    fn check(&mut self, reading: &Reading<'_>) -> Result<Result<Vec<u8>, Refused>, Error> {
        let checked = check(&self.catalog, reading);
        let is_a_name = matches!(checked, Err(Refused::UnknownService(_) | Refused::UnknownSensor { .. }));
        if is_a_name && self.read_at.elapsed() > CATALOG_AGE {
            self.catalog = Catalog::read(&self.settings, &self.offsets, &self.topics)?;
            self.read_at = Instant::now();
            return Ok(check(&self.catalog, reading));
        }
        Ok(checked)
    }
}

/// The value on the bus of a reading that may be sent.
///
/// # Errors
/// What the processor would surely reject.
pub fn check(catalog: &Catalog, reading: &Reading<'_>) -> Result<Vec<u8>, Refused> {
    check_names(catalog, &reading.service, &reading.sensor)?;
    check_numbers(reading)?;
    encode(reading)
}

/// The value on the bus.
pub(super) fn encode(reading: &Reading<'_>) -> Result<Vec<u8>, Refused> {
    let value = codec::reading::encode(reading);
    if value.len() > codec::reading::MAX_VALUE_LENGTH {
        return Err(Refused::TooLarge { bytes: value.len() });
    }
    Ok(value)
}

/// Is this sensor declared?
pub(super) fn check_names(catalog: &Catalog, service: &str, sensor: &str) -> Result<(), Refused> {
    let (service, entry) = catalog.get(service)?;
    // A text that only another release understands: let the processor judge.
    if let Ok(spec) = &entry.spec
        && spec.sensor(sensor).is_none()
    {
        let near = suggest::closest(sensor, spec.sensors.iter().map(|sensor| &*sensor.name));
        let (service, name, near) = (service.clone(), sensor.to_owned(), near.map(str::to_owned));
        return Err(Refused::UnknownSensor { service, name, near });
    }
    Ok(())
}

impl Refused {
    /// The reason for which the processor would reject the reading.
    pub fn reason(&self) -> RejectReason {
        match self {
            Self::UnknownService(_) => RejectReason::UnknownService,
            Self::UnknownSensor { .. } | Self::TooManyNames { .. } => RejectReason::UnknownSensor,
            Self::NotFinite { .. } => RejectReason::ValueNotFinite,
            Self::TsInvalid { .. } => RejectReason::TsInvalid,
            Self::TooLarge { .. } => RejectReason::TooLarge,
        }
    }
}

/// What can be said of a reading without asking anybody.
pub(super) fn check_numbers(reading: &Reading<'_>) -> Result<(), Refused> {
    match reading.fault() {
        None => Ok(()),
        Some(RejectReason::TsInvalid) => Err(Refused::TsInvalid { ts: reading.ts }),
        Some(_) => Err(Refused::NotFinite { value: reading.value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(service: &str, sensor: &str, value: f64, ts: i64) -> Reading<'static> {
        let attributes = BTreeMap::new();
        Reading { service: service.to_owned().into(), sensor: sensor.to_owned().into(), ts, value, attributes }
    }

    #[test]
    fn what_the_processor_would_surely_reject_is_refused_with_its_reason() {
        let text = "id: Scanner\nowner: o\nsensors:\n  - name: queue_time_seconds\n";
        let catalog = Catalog::of_texts(&[text]);
        let refused = |reading: &Reading<'_>| check(&catalog, reading).unwrap_err().to_string();
        assert!(check(&catalog, &reading("Scanner", "queue_time_seconds", 1.0, 1)).is_ok());
        assert_eq!(
            refused(&reading("Scaner", "queue_time_seconds", 1.0, 1)),
            "no service \"Scaner\" is registered, did you mean Scanner?"
        );
        assert_eq!(
            refused(&reading("Scanner", "queue_time", 1.0, 1)),
            "Scanner has no sensor \"queue_time\", did you mean queue_time_seconds?"
        );
        assert_eq!(refused(&reading("Scanner", "queue_time_seconds", f64::NAN, 1)), "NaN is not finite");
        let at_zero = refused(&reading("Scanner", "queue_time_seconds", 1.0, 0));
        assert!(at_zero.starts_with("0 ms is no event time"), "{at_zero}");
        let mut large = reading("Scanner", "queue_time_seconds", 1.0, 1);
        large.attributes.insert("note".into(), "x".repeat(40_000).into());
        assert!(refused(&large).contains("may be 32768"));
    }
}
