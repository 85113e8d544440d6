//! How the readings of a stretch of event time were, from the rollups of their series: exact counts, and the p95
//! estimate that is shown. Pure; for `ops status` and for actors that look whether something helped.

use crate::model::spec::nearest_rank;
use crate::model::state::Rollup;
use crate::window::digest::{Sketch, estimate};
use crate::window::steps::Counters;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Readings.
    pub n: u64,
    /// Those above the threshold.
    pub over: u64,
    /// An estimate for people; the counts decide.
    pub p95_estimate: Option<f64>,
}

impl Measured {
    /// Of the rollups of one series, the steps that end in `(after, to]` (ms).
    pub fn of(rollups: &[&Rollup], (after, to): (i64, i64), objective_ppm: u32) -> Self {
        let mut counters = Counters::default();
        let panes = rollups.iter().flat_map(|rollup| &rollup.panes).filter(|pane| after < pane.end && pane.end <= to);
        panes.for_each(|pane| counters.add(pane.into()));
        let digests = rollups.iter().filter_map(|rollup| Sketch::of_rollup(rollup).digest(after, to)).collect();
        let p95_estimate = estimate(digests, f64::from(objective_ppm) / 1e6);
        Self { n: counters.n, over: counters.over, p95_estimate }
    }

    /// Are more of them above the threshold than the objective allows? By nearest rank, exactly.
    pub fn is_breached(&self, objective_ppm: u32) -> bool {
        self.over > self.n.saturating_sub(nearest_rank(objective_ppm, self.n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breached_is_what_the_objective_says() {
        let breached = |n, over| Measured { n, over, p95_estimate: None }.is_breached(950_000);
        assert_eq!([breached(60, 3), breached(60, 4), breached(1, 1), breached(0, 0)], [false, true, true, false]);
    }
}
