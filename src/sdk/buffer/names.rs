//! The names that a program has used, and what is known of them: so that a wrong one is told at the call, and a reading
//! that waits need not carry its names along.

use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;

use crate::sdk::emit::{CATALOG_AGE, Refused};

/// A program that makes up more names than this has made a mistake.
const MAX_SERIES: usize = 65_536;

/// Number of a series in one buffer, from 0 up.
pub(super) type SeriesId = u32;

/// A series that has to be looked up in the catalog.
#[derive(Clone, Debug)]
pub(super) struct Unchecked {
    pub id: SeriesId,
    pub service: Arc<str>,
    pub sensor: Arc<str>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Names {
    ids: HashMap<Arc<str>, HashMap<Arc<str>, SeriesId>>,
    series: Vec<Series>,
    unchecked: Vec<SeriesId>,
}

struct Series {
    service: Arc<str>,
    sensor: Arc<str>,
    verdict: Verdict,
}

enum Verdict {
    /// To be looked up: readings wait.
    Unchecked,
    Known,
    /// And when that was found.
    Refused(Refused, Instant),
}

impl Names {
    /// The series of these names.
    ///
    /// # Errors
    /// They were found to be unknown a moment ago; what was found longer ago is looked up again.
    #[inline]
    pub fn find(&mut self, service: &str, sensor: &str) -> Result<SeriesId, Refused> {
        let Some(id) = self.ids.get(service).and_then(|sensors| sensors.get(sensor)).copied() else {
            return self.add(service, sensor);
        };
        let series = &mut self.series[id as usize];
        if let Verdict::Refused(refused, at) = &series.verdict {
            if at.elapsed() < CATALOG_AGE {
                return Err(refused.clone());
            }
            series.verdict = Verdict::Unchecked;
            self.unchecked.push(id);
        }
        Ok(id)
    }

    fn add(&mut self, service: &str, sensor: &str) -> Result<SeriesId, Refused> {
        if self.series.len() >= MAX_SERIES {
            return Err(Refused::TooManyNames { limit: MAX_SERIES });
        }
        let id = self.series.len() as SeriesId;
        let service = self.ids.get_key_value(service).map_or_else(|| Arc::from(service), |(known, _)| known.clone());
        let sensor: Arc<str> = Arc::from(sensor);
        self.ids.entry(service.clone()).or_default().insert(sensor.clone(), id);
        self.series.push(Series { service, sensor, verdict: Verdict::Unchecked });
        self.unchecked.push(id);
        Ok(id)
    }

    /// What was refused is looked up again when it comes.
    pub fn forget_refusals(&mut self) {
        for (id, series) in (0..).zip(&mut self.series) {
            if matches!(series.verdict, Verdict::Refused(..)) {
                series.verdict = Verdict::Unchecked;
                self.unchecked.push(id);
            }
        }
    }

    /// What has to be looked up, each once.
    pub fn take_unchecked(&mut self) -> Vec<Unchecked> {
        let take = |id: SeriesId| {
            let series = &self.series[id as usize];
            Unchecked { id, service: series.service.clone(), sensor: series.sensor.clone() }
        };
        std::mem::take(&mut self.unchecked).into_iter().map(take).collect()
    }

    /// What was found.
    pub fn judge(&mut self, id: SeriesId, judged: Result<(), Refused>) {
        self.series[id as usize].verdict = match judged {
            Ok(()) => Verdict::Known,
            Err(refused) => Verdict::Refused(refused, Instant::now()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::UnknownService;

    fn refused() -> Refused {
        Refused::UnknownService(UnknownService { name: "a".to_owned(), near: None })
    }

    #[test]
    fn a_name_is_looked_up_once_and_told_at_the_call_once_it_is_known_to_be_wrong() {
        let mut names = Names::default();
        let ids = ["x", "y", "x"].map(|sensor| names.find("a", sensor).unwrap());
        assert_eq!(ids, [0, 1, 0]);
        assert_eq!(names.take_unchecked().iter().map(|series| &*series.sensor).collect::<Vec<_>>(), ["x", "y"]);
        names.judge(0, Err(refused()));
        names.judge(1, Ok(()));
        assert_eq!((names.find("a", "x"), names.find("a", "y")), (Err(refused()), Ok(1)));
        assert!(names.take_unchecked().is_empty());
    }

    #[test]
    fn after_a_registration_what_was_refused_is_looked_up_again() {
        let mut names = Names::default();
        names.find("a", "x").unwrap();
        drop(names.take_unchecked());
        names.judge(0, Err(refused()));
        names.forget_refusals();
        assert_eq!(names.find("a", "x"), Ok(0));
        assert_eq!(names.take_unchecked().len(), 1);
    }

    #[test]
    fn names_without_end_are_refused() {
        let mut names = Names::default();
        for n in 0..MAX_SERIES {
            names.find("a", &n.to_string()).unwrap();
        }
        assert_eq!(names.find("a", "one more"), Err(Refused::TooManyNames { limit: MAX_SERIES }));
        assert_eq!(names.find("a", "7"), Ok(7));
    }
}
