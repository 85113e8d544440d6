//! The thread behind a buffer: looks names up, encodes, sends, and books what became of every reading. It alone waits for
//! the cluster; a cluster that does not answer only makes it try again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::front::{Counts, Shared, Waiting};
use super::names::{SeriesId, Unchecked};
use crate::bus::{Flushed, Offsets, Producer, Record, Settings, Verdict};
use crate::model::ids::home_partition;
use crate::model::reading::{Attributes, Reading, RejectReason};
use crate::model::topics::Topics;
use crate::sdk::emit::{CATALOG_AGE, Refused, check_names, encode};
use crate::sdk::{Catalog, Error};

/// Before the cluster is asked again.
const RETRY: Duration = Duration::from_millis(500);
/// How long a reading waits for room in the client before the rest is looked at.
const ROOM: Duration = Duration::from_secs(1);
/// A flush is interrupted so often, to book what has arrived and to see whether anybody still waits.
const SLICE: Duration = Duration::from_millis(100);
/// Between two warnings about readings that are lost.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Pump {
    shared: Arc<Shared>,
    settings: Settings,
    topics: Topics,
    capacity: usize,
    link: Option<Link>,
    /// What was taken from the front; the first `done` of it are sent or refused.
    batch: Vec<Waiting>,
    done: usize,
    /// Names that are still to be looked up.
    unchecked: Vec<Unchecked>,
    /// The catalog is older than a registration.
    reread: bool,
    routes: HashMap<SeriesId, Route>,
    warned: Warned,
}

/// What the pump has of the cluster, once it has answered.
struct Link {
    producer: Producer,
    /// Of `ops.metrics`.
    partitions: i32,
    catalog: Catalog,
    read_at: Instant,
    /// Readings that the producer has taken and that are not settled.
    in_flight: u64,
}

/// Where the readings of a series go.
struct Route {
    service: Arc<str>,
    sensor: Arc<str>,
    partition: i32,
    /// Why they go nowhere.
    refused: Option<RejectReason>,
}

/// What was said in the log.
#[derive(Default)]
struct Warned {
    at: Option<Instant>,
    lost: u64,
    is_cut_off: bool,
}

impl Pump {
    pub fn new(shared: Arc<Shared>, settings: Settings, topics: Topics, capacity: usize) -> Self {
        Self {
            shared,
            settings,
            topics,
            capacity,
            link: None,
            batch: Vec::new(),
            done: 0,
            unchecked: Vec::new(),
            reread: false,
            routes: HashMap::new(),
            warned: Warned::default(),
        }
    }

    /// Works until the buffer is stopped.
    pub fn run(mut self) {
        loop {
            let work = self.shared.next(&mut self.batch);
            self.unchecked.extend(work.unchecked);
            self.reread |= work.reread;
            match self.send() {
                Ok(()) => self.warned.is_cut_off = false,
                Err(error) => self.is_cut_off(&error),
            }
            self.book();
            if let Some(round) = work.flush.filter(|_| self.batch.is_empty()) {
                self.flush(round);
            }
            self.warn();
            if work.stop {
                return;
            }
        }
    }

    /// Sends the batch, as far as the cluster lets it.
    fn send(&mut self) -> Result<(), Error> {
        if self.batch.is_empty() && self.unchecked.is_empty() {
            return Ok(());
        }
        if self.link.is_none() {
            self.link = Some(Link::open(&self.settings, &self.topics, self.capacity)?);
        }
        self.look_names_up()?;
        let Some(link) = &mut self.link else { return Ok(()) };
        let mut settled = Counts::default();
        let sent = loop {
            let Some(waiting) = self.batch.get(self.done) else { break Ok(()) };
            match link.take(&self.topics.metrics, &self.routes[&waiting.series], waiting) {
                Ok(None) => link.in_flight += 1,
                Ok(Some(reason)) => *settled.refused.entry(reason).or_default() += 1,
                Err(error) if error.verdict() == Verdict::Retry => break Err(error),
                Err(error) => {
                    *settled.failed.entry(error.to_string()).or_default() += 1;
                    self.done += 1;
                    break Err(error);
                }
            }
            self.done += 1;
        };
        self.shared.settle(&settled);
        if self.done == self.batch.len() {
            self.batch.clear();
            self.done = 0;
        }
        sent.map_err(Error::from)
    }

    /// Judges the names that are new, by a catalog that is young enough to know them.
    fn look_names_up(&mut self) -> Result<(), Error> {
        let Some(link) = &mut self.link else { return Ok(()) };
        while let Some(series) = self.unchecked.last() {
            let mut judged = check_names(&link.catalog, &series.service, &series.sensor);
            if judged.is_err() && (self.reread || link.read_at.elapsed() > CATALOG_AGE) {
                link.read_catalog(&self.settings, &self.topics)?;
                self.reread = false;
                judged = check_names(&link.catalog, &series.service, &series.sensor);
            }
            let route = Route::of(series, link.partitions, &judged);
            self.routes.insert(series.id, route);
            self.shared.judge(series.id, judged);
            self.unchecked.pop();
        }
        Ok(())
    }

    /// Nothing goes on for now. A client that is of no more use is given up, with what is in it.
    fn is_cut_off(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.warned.is_cut_off, true) {
            tracing::warn!(%error, "readings wait in the buffer");
        }
        if let Error::Bus(error) = error
            && error.verdict() != Verdict::Retry
            && let Some(link) = self.link.take()
        {
            let mut settled = counts(link.producer.flush(SLICE));
            let unknown = link.in_flight - settled.emitted().min(link.in_flight);
            if unknown > 0 {
                settled.failed.insert("the client failed; they may have arrived".to_owned(), unknown);
            }
            self.shared.settle(&settled);
        }
        self.shared.pause(RETRY);
    }

    /// Books what has become of readings since the last look.
    fn book(&mut self) {
        if let Some(link) = &mut self.link {
            let settled = counts(link.producer.settled());
            link.in_flight -= settled.emitted();
            self.shared.settle(&settled);
        }
    }

    /// Waits for what is on its way, as long as anybody waits for it.
    fn flush(&mut self, round: u64) {
        while let Some(link) = self.link.as_mut().filter(|link| link.in_flight > 0) {
            let now = Instant::now();
            let Some(until) = self.shared.flush_until().filter(|until| *until > now) else { return };
            let settled = counts(link.producer.flush(SLICE.min(until - now)));
            link.in_flight -= settled.emitted();
            self.shared.settle(&settled);
        }
        self.shared.complete(round);
    }

    /// Says now and then how many readings were lost.
    fn warn(&mut self) {
        if self.warned.at.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        let counts = self.shared.counts();
        let lost = counts.undelivered() - counts.pending;
        if lost > self.warned.lost {
            let Counts { dropped, refused, failed, .. } = counts;
            tracing::warn!(dropped, ?refused, ?failed, "readings were lost");
            (self.warned.at, self.warned.lost) = (Some(Instant::now()), lost);
        }
    }
}

impl Link {
    fn open(settings: &Settings, topics: &Topics, capacity: usize) -> Result<Self, Error> {
        let offsets = Offsets::new(settings)?;
        Ok(Self {
            partitions: offsets.partitions(&topics.metrics)?,
            catalog: Catalog::read(settings, &offsets, topics)?,
            read_at: Instant::now(),
            producer: Producer::new(settings, capacity)?,
            in_flight: 0,
        })
    }

    fn read_catalog(&mut self, settings: &Settings, topics: &Topics) -> Result<(), Error> {
        self.catalog = Catalog::read(settings, &Offsets::new(settings)?, topics)?;
        self.read_at = Instant::now();
        Ok(())
    }

    /// Gives a reading to the client, or says why it will not be sent.
    fn take(&self, topic: &str, route: &Route, waiting: &Waiting) -> Result<Option<RejectReason>, crate::bus::Error> {
        if route.refused.is_some() {
            return Ok(route.refused);
        }
        let made;
        let value = match &waiting.encoded {
            Some(encoded) => encoded,
            None => match route.encode(waiting) {
                Ok(value) => {
                    made = value;
                    made.as_slice()
                }
                Err(refused) => return Ok(Some(refused.reason())),
            },
        };
        let key = Some(route.service.as_bytes());
        let record = Record { topic, partition: route.partition, key, value: Some(value), ..Record::default() };
        self.producer.send(&record, ROOM).map(|()| None)
    }
}

impl Route {
    fn of(series: &Unchecked, partitions: i32, judged: &Result<(), Refused>) -> Self {
        Self {
            service: series.service.clone(),
            sensor: series.sensor.clone(),
            partition: home_partition(&series.service, partitions),
            refused: judged.as_ref().err().map(Refused::reason),
        }
    }

    fn encode(&self, waiting: &Waiting) -> Result<Vec<u8>, Refused> {
        let (service, sensor) = ((&*self.service).into(), (&*self.sensor).into());
        encode(&Reading { service, sensor, ts: waiting.ts, value: waiting.value, attributes: Attributes::new() })
    }
}

fn counts(flushed: Flushed) -> Counts {
    Counts { delivered: flushed.delivered, failed: flushed.failed, ..Counts::default() }
}
