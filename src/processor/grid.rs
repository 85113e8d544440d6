//! Evaluation instants. Services with the same step and lateness share them: the multiples of the step, each due when
//! the partition's clock is at it plus the lateness. At rest the next one is always the first that is not due. Pure.

/// The instants of the services with one step and one lateness.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    /// S, ms.
    pub step_ms: i64,
    /// L, ms.
    pub lateness_ms: i64,
    /// The first instant not yet evaluated (or blind), ms; none before the partition's first record.
    pub next: Option<i64>,
}

impl Grid {
    /// At a partition's clock, ms, if it has begun.
    pub fn new(step_ms: i64, lateness_ms: i64, clock: Option<i64>) -> Self {
        let mut grid = Self { step_ms, lateness_ms, next: None };
        grid.next = clock.map(|clock| grid.first_not_due(clock));
        grid
    }

    /// The first instant that is not yet due at `clock`: the smallest E with E + L > clock.
    pub fn first_not_due(&self, clock: i64) -> i64 {
        (clock - self.lateness_ms).div_euclid(self.step_ms) * self.step_ms + self.step_ms
    }

    /// The next instant, if it is due at `clock`.
    pub fn due(&self, clock: i64) -> Option<i64> {
        self.next.filter(|next| next + self.lateness_ms <= clock)
    }

    /// At which clock the next instant is due, ms.
    pub fn next_due(&self) -> Option<i64> {
        self.next.map(|next| next + self.lateness_ms)
    }

    /// The clock leaps: what becomes due by it is blind. `Some((first, last))` if anything does.
    pub fn leap(&mut self, clock: i64) -> Option<(i64, i64)> {
        let next = self.first_not_due(clock);
        let first = self.next.replace(next)?;
        let last = next - self.step_ms;
        (last >= first).then_some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_due_when_the_clock_has_reached_it_and_the_lateness() {
        let grid = Grid::new(1_000, 500, Some(10_499));
        assert_eq!((grid.next, grid.due(10_499), grid.due(10_500)), (Some(10_000), None, Some(10_000)));
        assert_eq!(Grid::new(1_000, 500, Some(10_500)).next, Some(11_000));
    }

    #[test]
    fn what_a_leap_makes_due_is_blind() {
        let mut grid = Grid::new(1_000, 500, Some(10_000));
        assert_eq!(grid.leap(90_000), Some((10_000, 89_000)));
        assert_eq!(grid.leap(90_100), None);
        assert_eq!(grid.next, Some(90_000));
    }
}
