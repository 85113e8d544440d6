//! A page -> the reading of one sensor: its sample as it stands, the rate of a counter, the quantile of a histogram or
//! a summary. Pure: when it was scraped is an argument. Called by [`super::job`] with every page of its target.
//!
//! What two scrapes are needed for remembers the one before. A reading is never invented: what is missing, there twice,
//! not finite or not possible puts the sensor down with its reason; what merely has nothing to say (the first scrape of
//! a rate, no observation since the last one, a page that was not renewed) gives no reading and is no fault.

use std::time::Duration;

use super::down::{Down, Kind};
use super::histogram::{self, Bucket};
use super::text::{self, Page, Sample};
use crate::model::spec::{Sensor, Take};

/// A page's time stamp may be so far ahead of the host's clock, ms: what is further the processor rejects too.
const AHEAD_MS: i64 = 5_000;
/// And so far behind, ms.
const BEHIND_MS: i64 = 3_600_000;
/// So many intervals after the last scrape a rate begins anew, and not before [`FORGET`].
const FORGET_INTERVALS: u32 = 5;
const FORGET: Duration = Duration::from_secs(60);

/// When a page was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the host's clock, ms since the epoch.
    pub host_ms: i64,
    /// Since any fixed moment: differences do not jump when the host's clock is set.
    pub since: Duration,
}

/// What a scrape gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken {
    /// Finite.
    pub value: f64,
    /// Event time, ms: the page's, else the host's when it was asked.
    pub ts: i64,
}

/// One sensor and what it remembers of the page before.
#[derive(Debug)]
pub struct Taker {
    sensor: Sensor,
    forget: Duration,
    before: Option<Before>,
    /// The last time stamp of the page's own that became a reading.
    stamped: Option<i64>,
}

/// The scrape before, of the same series.
#[derive(Debug)]
struct Before {
    since: Duration,
    /// The page's own.
    timestamp_ms: Option<i64>,
    series: String,
    count: Count,
}

#[derive(Debug)]
enum Count {
    Counter(f64),
    Buckets(Vec<Bucket>),
}

impl Taker {
    /// Remembers nothing yet.
    pub fn new(sensor: Sensor) -> Self {
        let interval = Duration::from_millis(u64::try_from(sensor.interval_ms).unwrap_or(0));
        Self { forget: FORGET.max(interval * FORGET_INTERVALS), sensor, before: None, stamped: None }
    }

    /// Its sensor.
    pub fn sensor(&self) -> &Sensor {
        &self.sensor
    }

    /// Is a sample of this name of use?
    pub fn wants(&self, name: &str) -> bool {
        let metric = &*self.sensor.metric;
        match self.sensor.take {
            Take::Value | Take::Rate => name == metric,
            Take::Quantile { .. } => {
                name.strip_prefix(metric).is_some_and(|rest| matches!(rest, "" | "_bucket" | "_count"))
            }
        }
    }

    /// The reading of a page; none if there is nothing to say.
    ///
    /// # Errors
    /// Why the sensor is down.
    pub fn take(&mut self, page: &Page<'_>, at: Moment) -> Result<Option<Taken>, Down> {
        match self.sensor.take {
            Take::Value => {
                let sample = self.only(page)?;
                self.stamp(finite(sample, sample.value)?, sample.timestamp_ms, at)
            }
            Take::Rate => self.rate(page, at),
            Take::Quantile { ppm } => self.quantile(page, ppm, at),
        }
    }

    /// The reading with its event time; none if the page was not renewed since the last one.
    fn stamp(&mut self, value: f64, timestamp_ms: Option<i64>, at: Moment) -> Result<Option<Taken>, Down> {
        let Some(ts) = timestamp_ms else { return Ok(Some(Taken { value, ts: at.host_ms })) };
        check_timestamp(ts, at)?;
        if self.stamped >= Some(ts) {
            return Ok(None);
        }
        self.stamped = Some(ts);
        Ok(Some(Taken { value, ts }))
    }

    fn rate(&mut self, page: &Page<'_>, at: Moment) -> Result<Option<Taken>, Down> {
        let sample = self.only(page)?;
        if page.kind(sample.name) == Some(text::Kind::Gauge) {
            let reason = format!("{} is a gauge, and only what grows has a rate", sample.name);
            return Err(Down::new(Kind::Unusable, reason));
        }
        let now = finite(sample, sample.value)?;
        if now < 0.0 {
            return Err(Down::new(
                Kind::Unusable,
                format!("{} is {now}, and a counter is never negative", sample.name),
            ));
        }
        let timestamp_ms = sample.timestamp_ms;
        let Some((before, seconds)) = self.since_before(series(sample, &[]), timestamp_ms, Count::Counter(now), at)?
        else {
            return Ok(None);
        };
        let Count::Counter(before) = before else { return Ok(None) };
        // A counter that is smaller than before began anew at 0.
        let grown = if now >= before { now - before } else { now };
        self.stamp(finite(sample, grown / seconds)?, timestamp_ms, at)
    }

    fn quantile(&mut self, page: &Page<'_>, ppm: u32, at: Moment) -> Result<Option<Taken>, Down> {
        let metric = self.sensor.metric.clone();
        let buckets_name = format!("{metric}_bucket");
        if !page.samples.iter().any(|sample| sample.name == buckets_name) {
            return self.summary(page, ppm, at);
        }
        let samples = self.matching(page, &buckets_name)?;
        let first = samples[0];
        let own = series(first, &["le"]);
        let others = samples.iter().filter(|sample| series(sample, &["le"]) != own).count();
        if others > 0 {
            let reason = format!("ambiguous: several histograms {metric}; `match` tells which");
            return Err(Down::new(Kind::Ambiguous, reason));
        }
        let count_name = format!("{metric}_count");
        let own_count = format!("{count_name}{}", own.strip_prefix(&*buckets_name).unwrap_or_default());
        let count = page.samples.iter().find(|sample| sample.name == count_name && series(sample, &[]) == own_count);
        let pairs = samples.iter().map(|sample| (sample.label("le"), sample.value));
        let broken = |what: String| Down::new(Kind::Unusable, format!("a broken histogram {metric}: {what}"));
        let now = histogram::read(pairs, count.map(|sample| sample.value)).map_err(broken)?;
        let timestamp_ms = first.timestamp_ms;
        let found = self.since_before(own, timestamp_ms, Count::Buckets(now.clone()), at)?;
        let Some((Count::Buckets(before), _)) = found else { return Ok(None) };
        let Some(grown) = histogram::grown(&before, now).map_err(broken)? else { return Ok(None) };
        match histogram::quantile(&grown, f64::from(ppm) / 1e6) {
            None => Ok(None),
            Some(value) if value.is_finite() => self.stamp(value, timestamp_ms, at),
            Some(_) => Err(broken("it has no finite bound".to_owned())),
        }
    }

    /// The quantile that a summary says; NaN is its word for "no observation".
    fn summary(&mut self, page: &Page<'_>, ppm: u32, at: Moment) -> Result<Option<Taken>, Down> {
        let label = |sample: &Sample<'_>| {
            let quantile = sample.label("quantile").parse::<f64>().ok()?;
            // Exact: `ppm` is a whole number, and binary64 holds six decimals without doubt.
            Some((quantile * 1e6).round() as u32 == ppm && (quantile * 1e6).fract().abs() < 1e-3)
        };
        let named = page.samples.iter().filter(|sample| *sample.name == *self.sensor.metric);
        let (known, wanted): (Vec<_>, Vec<_>) =
            named.filter(|sample| self.matches(sample)).partition(|sample| label(sample) != Some(true));
        if wanted.is_empty() {
            let metric = &self.sensor.metric;
            let why = match known.is_empty() {
                true => format!("no histogram and no summary {}", self.sought(metric)),
                false => format!("the summary {metric} has no quantile {}", f64::from(ppm) / 1e6),
            };
            return Err(Down::new(Kind::Missing, why));
        }
        let sample = single(&wanted, || self.sought(&self.sensor.metric))?;
        if sample.value.is_nan() {
            return Ok(None);
        }
        self.stamp(finite(sample, sample.value)?, sample.timestamp_ms, at)
    }

    /// What the scrape before said of the same series, and how many seconds ago; none if there was none, it is too long
    /// ago, or the page was not renewed since. Remembers this one.
    fn since_before(
        &mut self,
        series: String,
        timestamp_ms: Option<i64>,
        count: Count,
        at: Moment,
    ) -> Result<Option<(Count, f64)>, Down> {
        timestamp_ms.map_or(Ok(()), |ts| check_timestamp(ts, at))?;
        let seconds = match &self.before {
            Some(before) => match (before.timestamp_ms, timestamp_ms) {
                (Some(then), Some(now)) => now.saturating_sub(then) as f64 / 1e3,
                _ => at.since.saturating_sub(before.since).as_secs_f64(),
            },
            None => 0.0,
        };
        let same = self.before.as_ref().is_some_and(|before| before.series == series);
        if same && seconds <= 0.0 {
            // Not renewed: what is remembered stays, so that nothing that grows is lost.
            return Ok(None);
        }
        let before = self.before.replace(Before { since: at.since, timestamp_ms, series, count });
        Ok(before.filter(|_| same && seconds <= self.forget.as_secs_f64()).map(|before| (before.count, seconds)))
    }

    fn matches(&self, sample: &Sample<'_>) -> bool {
        self.sensor.matches.iter().all(|(label, value)| sample.label(label) == value)
    }

    /// The samples of a name that `match` lets pass: at least one.
    fn matching<'s, 'p>(&self, page: &'s Page<'p>, name: &str) -> Result<Vec<&'s Sample<'p>>, Down> {
        let named: Vec<_> = page.samples.iter().filter(|sample| sample.name == name).collect();
        let found: Vec<_> = named.iter().copied().filter(|sample| self.matches(sample)).collect();
        if found.is_empty() {
            let why = match named.len() {
                0 => format!("no sample {}", self.sought(name)),
                n => format!("no sample {}, and {n} with other labels", self.sought(name)),
            };
            return Err(Down::new(Kind::Missing, why));
        }
        Ok(found)
    }

    /// The one sample of the metric.
    fn only<'s, 'p>(&self, page: &'s Page<'p>) -> Result<&'s Sample<'p>, Down> {
        let metric = &self.sensor.metric;
        single(&self.matching(page, metric)?, || self.sought(metric))
    }

    /// `requests_total{code="500"}`.
    fn sought(&self, name: &str) -> String {
        let labels: Vec<_> = self.sensor.matches.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
        if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
    }
}

/// The one of them. Two of one series are a mistake of the page; two of different series one of the spec.
fn single<'s, 'p>(found: &[&'s Sample<'p>], sought: impl Fn() -> String) -> Result<&'s Sample<'p>, Down> {
    match found {
        [sample] => Ok(sample),
        _ => {
            let mut names: Vec<_> = found.iter().map(|sample| series(sample, &[])).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Down::new(Kind::Ambiguous, format!("a doubled series: {} is there twice", sought())));
            }
            Err(Down::new(Kind::Ambiguous, format!("ambiguous: {} samples match {}", found.len(), sought())))
        }
    }
}

/// Name and labels, these in order; but for some of them.
fn series(sample: &Sample<'_>, without: &[&str]) -> String {
    let labels = sample.labels.iter().filter(|(label, value)| !without.contains(label) && !value.is_empty());
    let mut labels: Vec<_> = labels.map(|(label, value)| format!("{label}={value:?}")).collect();
    labels.sort_unstable();
    format!("{}{{{}}}", sample.name, labels.join(","))
}

fn finite(sample: &Sample<'_>, value: f64) -> Result<f64, Down> {
    // -0.0 becomes 0.0, as everywhere.
    if value.is_finite() {
        Ok(value + 0.0)
    } else {
        Err(Down::new(Kind::Unusable, format!("{} is {value}", sample.name)))
    }
}

fn check_timestamp(ts: i64, at: Moment) -> Result<(), Down> {
    let ahead = ts.saturating_sub(at.host_ms);
    let wrong = |how: &str, ms: i64| {
        let seconds = ms as f64 / 1e3;
        Err(Down::new(Kind::Unusable, format!("the page's time stamp {ts} is {seconds} s {how} this host's clock")))
    };
    match ahead {
        _ if ts <= 0 => Err(Down::new(Kind::Unusable, format!("the page's time stamp {ts} is not above 0"))),
        _ if ahead > AHEAD_MS => wrong("ahead of", ahead),
        _ if ahead < -BEHIND_MS => wrong("behind", ahead.saturating_neg()),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "take_tests.rs"]
mod tests;
