//! How the targets of one service are, and when that is worth saying. Pure: the moment is an argument. Kept by
//! [`super::fleet`], told on `ops.targets` and by readings of a sensor named `up`.

use std::time::Duration;

use super::job::{Definition, Scraped};
use crate::model::ServiceId;
use crate::model::spec::Spec;
use crate::model::target::{ServiceTargets, Target};

/// A record is written at least so often, whatever the intervals, and not more often without news.
const PERIODS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// A service that declares a sensor of this name, without a `scrape_url`, gets its health as readings.
const UP: &str = "up";

/// See the module.
#[derive(Debug)]
pub struct Health {
    service: ServiceId,
    collector: String,
    targets: Vec<Target>,
    /// When it was last told; none yet, or what was told is out of date.
    told: Option<Duration>,
    period: Duration,
    has_up: bool,
}

/// A target that went up or down.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// How it is now.
    pub target: Target,
}

impl Health {
    /// Nothing was scraped yet.
    pub fn new(spec: &Spec, collector: &str, shown: impl Fn(&str) -> String) -> Self {
        let mut health = Self {
            service: spec.id.clone(),
            collector: collector.to_owned(),
            targets: Vec::new(),
            told: None,
            period: PERIODS.0,
            has_up: false,
        };
        health.take_spec(spec, shown);
        health
    }

    /// Another spec: what is known of a target that stays is kept. `shown` is of a URL what may be shown.
    pub fn take_spec(&mut self, spec: &Spec, shown: impl Fn(&str) -> String) {
        let before = std::mem::take(&mut self.targets);
        for job in Definition::of(spec) {
            let (url, interval_ms) = (shown(&job.url), i64::try_from(job.interval.as_millis()).unwrap_or(i64::MAX));
            for sensor in &job.sensors {
                let same =
                    |old: &&Target| old.sensor == *sensor.name && old.url == url && old.interval_ms == interval_ms;
                self.targets.push(before.iter().find(same).cloned().unwrap_or_else(|| Target {
                    sensor: sensor.name.to_string(),
                    url: url.clone(),
                    interval_ms,
                    up: false,
                    reason: Some("not scraped yet".to_owned()),
                    scraped_at: None,
                    took_ms: 0,
                    samples: 0,
                }));
            }
        }
        let place = |target: &Target| spec.sensor(&target.sensor);
        self.targets.sort_by_key(place);
        let quickest = self.targets.iter().map(|target| target.interval_ms).min().unwrap_or(0);
        // Told so often, what is told never looks stale while somebody scrapes.
        self.period = Duration::from_millis(quickest.unsigned_abs().saturating_mul(2)).clamp(PERIODS.0, PERIODS.1);
        let up = spec.sensor(UP).map(|place| &spec.sensors[place]);
        self.has_up = up.is_some_and(|sensor| sensor.scrape_url.is_none() && !sensor.is_event);
        self.told = None;
    }

    /// What a scrape found. Gives the targets that changed.
    pub fn update(&mut self, job: &Definition, scraped: &Scraped) -> Vec<Change> {
        let mut changes = Vec::new();
        for (sensor, result) in job.sensors.iter().zip(&scraped.results) {
            let Some(target) = self.targets.iter_mut().find(|target| target.sensor == *sensor.name) else { continue };
            let is_first = target.scraped_at.is_none();
            let was = (target.up, target.reason.take());
            target.up = result.is_ok();
            target.reason = result.as_ref().err().map(|down| down.reason.clone());
            target.scraped_at = Some(scraped.at);
            target.took_ms = i64::try_from(scraped.took.as_millis()).unwrap_or(i64::MAX);
            target.samples = i64::try_from(scraped.samples).unwrap_or(i64::MAX);
            if is_first || was.0 != target.up {
                changes.push(Change { target: target.clone() });
            }
            if is_first || was != (target.up, target.reason.clone()) {
                self.told = None;
            }
        }
        changes
    }

    /// What is to be told at `now` (since any fixed moment; `at` is the host's clock, ms), if anything is. Counts as
    /// told.
    pub fn news(&mut self, now: Duration, at: i64) -> Option<ServiceTargets> {
        if self.told.is_some_and(|told| now.saturating_sub(told) < self.period) {
            return None;
        }
        self.told = Some(now);
        let targets = self.targets.clone();
        Some(ServiceTargets { service: self.service.clone(), collector: self.collector.clone(), at, targets })
    }

    /// The reading of the sensor `up`, where the spec wants it and every target was scraped: 1 if all are up, else 0.
    pub fn up(&self) -> Option<(&'static str, f64)> {
        let all = |is: fn(&Target) -> bool| self.targets.iter().all(is);
        let is_known = self.has_up && all(|target| target.scraped_at.is_some());
        is_known.then(|| (UP, f64::from(u8::from(all(|target| target.up)))))
    }

    /// How many targets are up, and how many are down.
    pub fn counts(&self) -> (i64, i64) {
        let up = self.targets.iter().filter(|target| target.up).count();
        (i64::try_from(up).unwrap_or(0), i64::try_from(self.targets.len() - up).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::down::{Down, Kind};
    use super::super::take::Taken;
    use super::*;
    use crate::spec;

    const TWO: &str = "id: s\nowner: o\nsensors:\n  - {name: a, scrape_url: 'http://h/'}\n  \
                       - {name: up}\n  - {name: b, scrape_url: 'http://h/'}\n";

    fn health(text: &str) -> (Health, Definition) {
        let spec = spec::parse(text).unwrap().spec;
        (Health::new(&spec, "c1", |_| "http://h/".to_owned()), Definition::of(&spec).remove(0))
    }

    fn scraped(at: i64, results: Vec<Result<Option<Taken>, Down>>) -> Scraped {
        Scraped { at, took: Duration::from_millis(3), samples: 7, results }
    }

    fn down() -> Result<Option<Taken>, Down> {
        Err(Down::new(Kind::Missing, "no sample b"))
    }

    #[test]
    fn changes_are_told_at_once_and_what_stays_now_and_then() {
        let (mut health, job) = health(TWO);
        let first = health.news(Duration::ZERO, 1).unwrap();
        assert!(first.targets.iter().all(|target| !target.up && target.scraped_at.is_none()), "{first:?}");
        assert_eq!(health.update(&job, &scraped(10, vec![Ok(None), down()])).len(), 2);
        let told = health.news(Duration::from_secs(1), 11).unwrap();
        let told: Vec<_> = told.targets.iter().map(|target| (&*target.sensor, target.up, &target.reason)).collect();
        assert_eq!(told, [("a", true, &None), ("b", false, &Some("no sample b".to_owned()))]);
        assert_eq!(health.counts(), (1, 1));
        assert_eq!(health.update(&job, &scraped(20, vec![Ok(None), down()])), []);
        assert_eq!(health.news(Duration::from_millis(10_999), 21), None, "nothing is new");
        assert_eq!(health.news(Duration::from_secs(11), 21).unwrap().targets[0].scraped_at, Some(20));
        assert_eq!(health.update(&job, &scraped(30, vec![Ok(None), Ok(None)])).len(), 1);
        assert!(health.news(Duration::from_secs(12), 31).is_some());
    }

    #[test]
    fn what_is_told_is_told_again_before_it_is_stale() {
        for (interval, period) in [("1", 5), ("5", 10), ("10", 20), ("60", 30), ("3600", 30)] {
            let text =
                format!("id: s\nowner: o\nsensors:\n  - {{name: a, scrape_url: 'http://h/', interval: {interval}}}\n");
            let (health, _) = health(&text);
            assert_eq!(health.period, Duration::from_secs(period), "{interval}");
            let interval = Duration::from_millis(health.targets[0].interval_ms.unsigned_abs());
            let stale = Duration::from_millis(health.targets[0].stale_after_ms().unsigned_abs());
            assert!(health.period.max(interval) < stale, "{interval:?}");
        }
    }

    #[test]
    fn up_is_a_reading_where_the_spec_declares_it_and_all_is_known() {
        let (mut declared, job) = health(TWO);
        assert_eq!(declared.up(), None, "not scraped yet");
        declared.update(&job, &scraped(1, vec![Ok(None), down()]));
        assert_eq!(declared.up(), Some(("up", 0.0)));
        declared.update(&job, &scraped(2, vec![Ok(None), Ok(None)]));
        assert_eq!(declared.up(), Some(("up", 1.0)));
        let (mut undeclared, job) = health(&TWO.replace("{name: up}", "{name: other}"));
        undeclared.update(&job, &scraped(1, vec![Ok(None), Ok(None)]));
        assert_eq!(undeclared.up(), None);
    }

    #[test]
    fn a_new_spec_keeps_what_is_known_of_targets_that_stay() {
        let (mut health, job) = health(TWO);
        health.update(&job, &scraped(1, vec![Ok(None), down()]));
        let text = TWO.replace("{name: b,", "{name: c,");
        health.take_spec(&spec::parse(&text).unwrap().spec, |_| "http://h/".to_owned());
        let told = health.news(Duration::ZERO, 2).unwrap();
        let told: Vec<_> = told.targets.iter().map(|target| (&*target.sensor, target.up, target.scraped_at)).collect();
        assert_eq!(told, [("a", true, Some(1)), ("c", false, None)]);
    }
}
