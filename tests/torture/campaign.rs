//! What a campaign is: one kind of fault, so many rounds of it, and the figures that come out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::oracle::dice::Dice;

/// One kind of fault, again and again.
pub struct Campaign {
    /// As it is named on the command line.
    pub name: &'static str,
    /// What it shows, in one line.
    pub shows: &'static str,
    /// Rounds if the user does not say how many.
    pub rounds: u32,
    /// Plays all rounds. The error is the first thing that was not as it must be.
    pub run: fn(&mut Trial) -> Result<(), String>,
}

/// One run of a campaign: what it was told, and what it found so far.
pub struct Trial {
    /// Rounds to play.
    pub rounds: u32,
    /// Where, when and whom a fault hits hangs on it alone.
    pub dice: Dice,
    /// How heavy a heavy load is.
    pub weight: Weight,
    /// What came out.
    pub figures: Figures,
    name: &'static str,
    began: Instant,
}

/// A load, as the command line asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// Readings a second.
    pub rate: u64,
    /// Series; every service has two.
    pub series: u64,
}

/// What came out of a campaign.
#[derive(Debug, Default)]
pub struct Figures {
    /// Rounds that were played and judged without a difference.
    pub rounds: u32,
    /// Counts, by what was counted: `events confirmed`, `readings`.
    pub counts: BTreeMap<&'static str, u64>,
    /// Times, by what was timed: `assignment to first commit`.
    pub times: BTreeMap<&'static str, Vec<Duration>>,
    /// The largest of some sizes, by what was measured: `resident MiB`.
    pub peaks: BTreeMap<&'static str, u64>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Trial {
    /// Nothing played yet.
    pub fn new(name: &'static str, rounds: u32, seed: u64, weight: Weight) -> Self {
        Self { rounds, dice: Dice::new(seed), weight, figures: Figures::default(), name, began: Instant::now() }
    }

    /// A random time.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Duration::from_millis(self.dice.between(ms(from), ms(to)).unsigned_abs())
    }

    /// A round is over, and nothing was wrong.
    pub fn round_is_over(&mut self, what: &str) {
        self.figures.rounds += 1;
        let (done, all) = (self.figures.rounds, self.rounds);
        eprintln!("{:7.1} s  {:<12} {done:4}/{all}  {what}", self.began.elapsed().as_secs_f64(), self.name);
    }
}

impl Figures {
    /// Counts.
    pub fn count(&mut self, what: &'static str, more: u64) {
        *self.counts.entry(what).or_default() += more;
    }

    /// Keeps a time.
    pub fn time(&mut self, what: &'static str, took: Duration) {
        self.times.entry(what).or_default().push(took);
    }

    /// Keeps a size, if it is the largest so far.
    pub fn peak(&mut self, what: &'static str, size: u64) {
        let largest = self.peaks.entry(what).or_default();
        *largest = size.max(*largest);
    }

    /// As it stands in the report.
    pub fn to_json(&self) -> Value {
        let times: BTreeMap<_, _> = self.times.iter().map(|(what, times)| (*what, quantiles(times))).collect();
        json!({
            "rounds": self.rounds,
            "bound": bound(self.rounds),
            "counts": self.counts,
            "times_ms": times,
            "peaks": self.peaks,
            "notes": self.notes,
        })
    }
}

/// With no failure in so many rounds, a round fails with less than this probability, at 95 %.
pub fn bound(rounds: u32) -> f64 {
    3.0 / f64::from(rounds.max(1))
}

/// By nearest rank, ms.
pub fn quantiles(times: &[Duration]) -> Value {
    let mut sorted: Vec<u128> = times.iter().map(Duration::as_millis).collect();
    sorted.sort_unstable();
    let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1));
    json!({ "n": sorted.len(), "p50": at(50), "p99": at(99), "max": sorted.last() })
}
