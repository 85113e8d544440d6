//! One target page of one service: asked for again and again, for all sensors that read it. Started and ended by
//! [`super::fleet`].
//!
//! ```text
//! now --> fetch --> unpack, parse, take --> report --> sleep to the next point of the grid --> fetch ...
//! ```
//!
//! The grid is that of the host's clock, shifted by a hash of service and URL: targets are spread over the interval,
//! and whichever collector takes a target over goes on in the same beat. The first scrape is at once: nobody knows how
//! long ago the last one was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::down::{Down, Kind};
use super::fetch::{self, Address};
use super::take::{Moment, Taken, Taker};
use super::text;
use crate::model::network::Networks;
use crate::model::spec::{Sensor, Spec};
use crate::telemetry::clock::now_ms;

/// A page is asked for at most so often.
const FASTEST: Duration = Duration::from_secs(1);
/// How long a page may take, unless its interval is shorter.
const PATIENCE: Duration = Duration::from_secs(10);
/// Over so long the first scrapes of many targets are spread.
const SPREAD_MS: u64 = 500;

/// What makes a job what it is: if that is the same in a new spec, the job goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// As in the spec.
    pub url: String,
    /// Between two scrapes.
    pub interval: Duration,
    /// Those that read this page, in the order of the spec.
    pub sensors: Vec<Sensor>,
}

impl Definition {
    /// The jobs of a spec: sensors with the same URL and interval share one.
    pub fn of(spec: &Spec) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for sensor in &spec.sensors {
            let Some(url) = &sensor.scrape_url else { continue };
            let interval = Duration::from_millis(u64::try_from(sensor.interval_ms).unwrap_or(0)).max(FASTEST);
            match found.iter_mut().find(|job| job.url == *url && job.interval == interval) {
                Some(job) => job.sensors.push(sensor.clone()),
                None => found.push(Self { url: url.clone(), interval, sensors: vec![sensor.clone()] }),
            }
        }
        found
    }

    /// Where in the interval its grid lies, and how long the first scrape waits.
    fn phase(&self, service: &str) -> (Duration, Duration) {
        let digest = Sha256::digest(format!("{service}\n{}", self.url));
        let hash = digest.iter().take(8).fold(0, |hash: u64, byte| hash << 8 | u64::from(*byte));
        let interval = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX).max(1);
        (Duration::from_millis(hash % interval), Duration::from_millis(hash % SPREAD_MS.min(interval)))
    }
}

/// One scrape.
#[derive(Debug)]
pub struct Scraped {
    /// When it was asked for, ms by the host's clock.
    pub at: i64,
    /// Until all was read and taken.
    pub took: Duration,
    /// Samples on the page; 0 if there was none.
    pub samples: usize,
    /// Of each sensor, in their order: a reading, nothing to say, or why it is down.
    pub results: Vec<Result<Option<Taken>, Down>>,
}

/// See the module.
pub struct Job {
    definition: Definition,
    address: Result<Address, Down>,
    takers: Vec<Taker>,
    began: Instant,
}

impl Job {
    /// Nothing is asked for yet.
    pub fn new(definition: Definition) -> Self {
        let address = Address::new(&definition.url);
        let takers = takers_of(&definition);
        Self { definition, address, takers, began: Instant::now() }
    }

    /// Its definition.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Its URL as it may be shown.
    pub fn shown(&self) -> String {
        self.address.as_ref().map_or_else(|_| String::new(), Address::shown)
    }

    /// How long to wait before the first scrape.
    pub fn delay(&self, service: &str) -> Duration {
        self.definition.phase(service).1
    }

    /// How long to wait for the next point of the grid. After the first scrape, which was at no point of it, at least a
    /// quarter of the interval: it is not followed by another at once. Always a little: a clock that was set back by
    /// a hair would find the point of this scrape again.
    pub fn pause(&self, service: &str, is_first: bool) -> Duration {
        let least = if is_first { self.definition.interval / 4 } else { self.definition.interval / 20 };
        until_next(now_ms(), self.definition.phase(service).0, self.definition.interval, least)
    }

    /// Asks for the page once.
    pub async fn scrape(&mut self, networks: &Arc<Networks>) -> Scraped {
        let (at, began) = (Moment { host_ms: now_ms(), since: self.began.elapsed() }, Instant::now());
        let answer = match &self.address {
            Ok(address) => fetch::fetch(address, networks, self.definition.interval.min(PATIENCE)).await,
            Err(down) => Err(down.clone()),
        };
        let (samples, results) = match answer {
            Ok(answer) => self.judge(answer, at).await,
            Err(down) => (0, vec![Err(down); self.takers.len()]),
        };
        Scraped { at: at.host_ms, took: began.elapsed(), samples, results }
    }

    /// Unpacks and reads the page, where other targets need not wait for it.
    async fn judge(&mut self, answer: fetch::Answer, at: Moment) -> (usize, Vec<Result<Option<Taken>, Down>>) {
        let mut takers = std::mem::take(&mut self.takers);
        let judged = tokio::task::spawn_blocking(move || {
            let found = read(answer, &mut takers, at);
            (takers, found)
        });
        match judged.await {
            Ok((takers, Ok(found))) => {
                self.takers = takers;
                found
            }
            Ok((takers, Err(down))) => {
                self.takers = takers;
                (0, vec![Err(down); self.takers.len()])
            }
            // A mistake of ours, not the target's. The job goes on, without what it remembered.
            Err(error) => {
                tracing::error!(url = self.shown(), %error, "a page could not be judged");
                self.takers = takers_of(&self.definition);
                let down = Down::new(Kind::Unusable, "the page could not be judged: a mistake of the collector's");
                (0, vec![Err(down); self.takers.len()])
            }
        }
    }
}

fn takers_of(definition: &Definition) -> Vec<Taker> {
    definition.sensors.iter().cloned().map(Taker::new).collect()
}

type Found = (usize, Vec<Result<Option<Taken>, Down>>);

fn read(answer: fetch::Answer, takers: &mut [Taker], at: Moment) -> Result<Found, Down> {
    let format = answer.format;
    let text = answer.text()?;
    let page = text::parse(&text, format, |name| takers.iter().any(|taker| taker.wants(name)))
        .map_err(|broken| Down::new(Kind::Broken, format!("a broken page, {broken}")))?;
    Ok((page.total, takers.iter_mut().map(|taker| taker.take(&page, at)).collect()))
}

/// From `now` (ms) to the next point of the grid that is at least so far away.
fn until_next(now: i64, phase: Duration, interval: Duration, least: Duration) -> Duration {
    let whole = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
    let phase = i64::try_from(phase.as_millis()).unwrap_or(0);
    let left = whole - now.saturating_sub(phase).rem_euclid(whole);
    let left = Duration::from_millis(left.unsigned_abs());
    if left < least { left + interval } else { left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn definitions(sensors: &str) -> Vec<Definition> {
        let text = format!("id: s\nowner: o\nsensors:\n{sensors}");
        Definition::of(&spec::parse(&text).unwrap().spec)
    }

    #[test]
    fn sensors_of_one_page_share_its_scrapes() {
        let jobs = definitions(
            "  - {name: a, scrape_url: 'http://h/'}\n  - {name: b, scrape_url: 'http://h/', take: rate}\n  \
             - {name: c, scrape_url: 'http://h/', interval: 10}\n  - {name: d, scrape_url: 'http://h/x'}\n  - {name: e}\n  \
             - {name: f, scrape_url: 'http://g/', interval: 0.2}\n",
        );
        let told: Vec<_> = jobs.iter().map(|job| (job.sensors.len(), job.interval.as_millis())).collect();
        assert_eq!(told, [(2, 5_000), (1, 10_000), (1, 5_000), (1, 1_000)]);
    }

    #[test]
    fn scrapes_lie_on_a_grid_of_their_own_that_every_collector_finds() {
        let interval = Duration::from_secs(5);
        let phase = Duration::from_millis(1_234);
        for now in [0, 1_234, 1_235, 6_233, 1_700_000_000_000] {
            for least in [interval / 20, interval / 4] {
                let pause = until_next(now, phase, interval, least);
                assert_eq!((now + pause.as_millis() as i64 - 1_234).rem_euclid(5_000), 0, "{now}");
                assert!(pause >= least && !pause.is_zero() && pause <= interval + least, "{now}: {pause:?}");
            }
        }
        let job = |url: &str| definitions(&format!("  - {{name: a, scrape_url: '{url}'}}\n")).remove(0);
        let phases: std::collections::BTreeSet<_> =
            (0..100).map(|n| job(&format!("http://h{n}/")).phase("s").0.as_millis() / 500).collect();
        assert_eq!(phases.len(), 10, "a hundred targets are spread over the whole interval");
        assert_eq!(job("http://h/").phase("s"), job("http://h/").phase("s"));
    }

    #[test]
    fn a_page_that_breaks_takes_all_its_sensors_down() {
        let mut takers = takers_of(&definitions("  - {name: a, scrape_url: 'http://h/'}\n").remove(0));
        let at = Moment { host_ms: 1, since: Duration::ZERO };
        let mut judge = |text: &str| read(fetch::Answer::plain(text), &mut takers, at);
        assert_eq!(judge("a 1\nb 2\n"), Ok((2, vec![Ok(Some(Taken { value: 1.0, ts: 1 }))])));
        let down = judge("a 1\n<html>\n").unwrap_err();
        assert_eq!((down.kind, &*down.reason), (Kind::Broken, "a broken page, line 2: `<html>` is no sample"));
    }
}
