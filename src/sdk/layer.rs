//! Durations of `tracing` spans as readings: the spans of a program that is traced already become sensors, by their names.
//!
//! ```no_run
//! use std::sync::Arc;
//! use hms_ops::bus::Settings;
//! use hms_ops::model::topics::Topics;
//! use hms_ops::sdk::{Buffer, buffer::DEFAULT_CAPACITY, layer::SpanReadings};
//! use tracing_subscriber::layer::SubscriberExt as _;
//! use tracing_subscriber::util::SubscriberInitExt as _;
//!
//! let settings = Settings::new("127.0.0.1:9092", "checkout");
//! let buffer = Arc::new(Buffer::new(&settings, &Topics::new(""), DEFAULT_CAPACITY));
//! let readings = SpanReadings::new(buffer, "Checkout", [("checkout", "checkout_seconds")]);
//! tracing_subscriber::registry().with(readings).init();
//! // Every span `checkout` is a reading of `checkout_seconds` when it closes.
//! tracing::info_span!("checkout").in_scope(|| { /* ... */ });
//! ```
//!
//! Needs the cargo feature `layer`. Called by whoever embeds the library; no service of ours uses it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tracing::span::{Attributes as SpanAttributes, Id};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Buffer;
use crate::model::reading::{Attributes, Reading};
use crate::telemetry::clock::now_ms;

/// See the module. A reading is the time from the making of a span to its close, in seconds; of an `async` span that is with its
/// waits. Readings that find no room, or whose names are unknown, are in the buffer's counts.
pub struct SpanReadings {
    buffer: Arc<Buffer>,
    service: String,
    /// By the name of the span.
    sensors: BTreeMap<String, String>,
}

/// When a span was made; in its extensions.
struct Began(Instant);

impl SpanReadings {
    /// `sensors` says which spans are measured, and as what: (name of the span, name of the sensor).
    pub fn new(
        buffer: Arc<Buffer>,
        service: &str,
        sensors: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        let sensors = sensors.into_iter().map(|(span, sensor)| (span.into(), sensor.into())).collect();
        Self { buffer, service: service.to_owned(), sensors }
    }

    fn sensor(&self, span: &Metadata<'_>) -> Option<&str> {
        self.sensors.get(span.name()).map(String::as_str)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanReadings {
    fn on_new_span(&self, attributes: &SpanAttributes<'_>, id: &Id, context: Context<'_, S>) {
        if self.sensor(attributes.metadata()).is_some()
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(Began(Instant::now()));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(sensor) = self.sensor(span.metadata()) else { return };
        let Some(Began(began)) = span.extensions_mut().remove() else { return };
        let value = began.elapsed().as_secs_f64();
        let service = self.service.as_str().into();
        let reading = Reading { service, sensor: sensor.into(), ts: now_ms(), value, attributes: Attributes::new() };
        // A name that is refused stays refused, and the program is not to hear of it at every span.
        if let Err(refused) = self.buffer.emit(&reading) {
            tracing::debug!(%refused, "a span was not measured");
        }
    }
}
