//! How scraped targets are: what the collector said last, as long as it can still be true. Pure but for [`follow`].

use serde::Serialize;

use super::facts::Facts;
use super::tail::Tail;
use crate::bus::{Error, Offsets, Settings};
use crate::model::ServiceId;
use crate::model::spec::{Sensor, Spec};
use crate::model::target::Target;

/// So far back health is read, ms: what is older is long stale.
const BACK_MS: i64 = 3_600_000;

/// What is known of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// The last scrape found what the sensor asks for.
    Up,
    /// It did not.
    Down,
    /// Nobody has scraped it for 3 intervals (at least 15 s).
    Stale,
}

/// One scraped sensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct TargetStatus {
    /// Which.
    pub sensor: String,
    /// Where, without what stands behind `?`.
    pub url: String,
    /// See [`TargetState`].
    pub state: TargetState,
    /// Why it is down or stale. May quote the target.
    pub reason: Option<String>,
    /// When it was last scraped, ms by the collector's clock.
    pub scraped_at: Option<i64>,
    /// How long that took, ms.
    pub took_ms: i64,
    /// Samples on the page.
    pub samples: i64,
    /// The distance of two scrapes, ms.
    pub interval_ms: i64,
    /// Who scraped it.
    pub collector: Option<String>,
}

/// The health of all targets of the last hour, or of one service's; none if there is no such topic.
pub(super) fn follow(
    settings: &Settings,
    offsets: &Offsets,
    topic: &str,
    only: Option<&ServiceId>,
    now: i64,
) -> Result<Option<Tail>, Error> {
    let count = match offsets.partitions(topic) {
        Ok(count) => count,
        Err(Error::NoSuchTopic { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let partitions: Vec<i32> = only.map_or_else(|| (0..count).collect(), |id| vec![id.home(count)]);
    let since = partitions.into_iter().map(|partition| (partition, now - BACK_MS)).collect();
    Tail::since(settings, offsets, topic, since).map(Some)
}

/// The targets of a registered spec at `now` (ms), in its order.
pub(super) fn of(facts: &Facts, spec: &Spec, now: i64) -> Vec<TargetStatus> {
    let said = facts.targets(&spec.id);
    let scraped = |sensor: &Sensor| {
        let url = sensor.scrape_url.as_ref()?;
        let target = said.and_then(|said| said.targets.iter().find(|target| *target.sensor == *sensor.name));
        Some(match (said, target) {
            (Some(said), Some(target)) => known(target, said.at, &said.collector, now),
            _ => TargetStatus {
                sensor: sensor.name.to_string(),
                url: url.split(['?', '#']).next().unwrap_or_default().to_owned(),
                state: TargetState::Stale,
                reason: Some("no collector has said anything of it".to_owned()),
                scraped_at: None,
                took_ms: 0,
                samples: 0,
                interval_ms: sensor.interval_ms,
                collector: None,
            },
        })
    };
    spec.sensors.iter().filter_map(scraped).collect()
}

/// What was said of a target at `at`.
fn known(target: &Target, at: i64, collector: &str, now: i64) -> TargetStatus {
    let silence = now.saturating_sub(at).max(target.scraped_at.map_or(0, |scraped| at.saturating_sub(scraped)));
    let (state, reason) = if silence > target.stale_after_ms() {
        (TargetState::Stale, Some(format!("not scraped for {} s", silence / 1000)))
    } else if target.scraped_at.is_none() {
        (TargetState::Stale, target.reason.clone())
    } else if target.up {
        (TargetState::Up, None)
    } else {
        (TargetState::Down, target.reason.clone())
    };
    TargetStatus {
        sensor: target.sensor.clone(),
        url: target.url.clone(),
        state,
        reason,
        scraped_at: target.scraped_at,
        took_ms: target.took_ms,
        samples: target.samples,
        interval_ms: target.interval_ms,
        collector: Some(collector.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::target::ServiceTargets;
    use crate::spec;

    const AT: i64 = 1_000_000;

    fn target(up: bool, scraped_at: Option<i64>) -> Target {
        Target {
            sensor: "q".to_owned(),
            url: "http://h/".to_owned(),
            interval_ms: 5_000,
            up,
            reason: (!up).then(|| "status 503".to_owned()),
            scraped_at,
            took_ms: 3,
            samples: 7,
        }
    }

    /// The state of the one target, `later` ms after it was told.
    fn state(target: Option<Target>, later: i64) -> (TargetState, Option<String>) {
        let text = "id: s\nowner: o\nsensors:\n  - {name: q, scrape_url: 'http://h/'}\n  - {name: other}\n";
        let spec = spec::parse(text).unwrap().spec;
        let mut facts = Facts::new(1);
        if let Some(target) = target {
            let (service, collector) = (spec.id.clone(), "c1".to_owned());
            facts.targeted(ServiceTargets { service, collector, at: AT, targets: vec![target] });
        }
        let mut all = of(&facts, &spec, AT + later);
        assert_eq!(all.len(), 1, "{all:?}");
        let only = all.remove(0);
        (only.state, only.reason)
    }

    #[test]
    fn what_is_old_is_stale_and_never_up() {
        let fresh = Some(AT - 1_000);
        assert_eq!(state(Some(target(true, fresh)), 15_000).0, TargetState::Up);
        assert_eq!(state(Some(target(true, fresh)), 15_001).0, TargetState::Stale);
        assert_eq!(state(Some(target(true, Some(AT - 15_001))), 0).0, TargetState::Stale, "told anew, not scraped");
        assert_eq!(state(Some(target(false, None)), 0).0, TargetState::Stale);
        assert_eq!(state(None, 0).0, TargetState::Stale);
        assert_eq!(state(Some(target(false, fresh)), 0), (TargetState::Down, Some("status 503".to_owned())));
    }
}
