//! The clock of a partition of `ops.metrics`: the largest append time seen so far, except that a record far
//! ahead suspends it until the jump is confirmed or turns out to have been a broker's wrong clock.

/// A record more than this ahead of the clock suspends it, ms.
pub const SUSPEND_MS: i64 = 60_000;
/// A record appended this long after the one that began the suspension confirms it, ms.
pub const CONFIRM_MS: i64 = 10_000;

/// ```text
///            <= 60 s ahead                      > 60 s ahead
///   running ---------------> running   running ------------> suspended(since)
///   suspended -- <= 60 s ahead --> running          (a clock was wrong for a moment)
///   suspended -- appended >= since + 10 s --> running at that record   (a leap)
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionClock {
    /// Largest accepted append time, ms; none before the first record.
    pub now: Option<i64>,
    /// Append time of the record that began the suspension, ms.
    pub suspended_since: Option<i64>,
}

/// What a record did to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockMove {
    /// The partition's first record: no leap, and nothing was waited for.
    Started,
    /// The clock stands at or after where it stood; nothing unusual.
    Moved {
        /// Where it stood before, ms.
        from: i64,
    },
    /// The record is far ahead: the clock stays.
    Suspended,
    /// A jump is confirmed: what became due by it is blind.
    Leapt,
}

impl PartitionClock {
    /// Takes note of a record's append time, ms.
    pub fn observe(&mut self, append: i64) -> ClockMove {
        let Some(now) = self.now else {
            self.now = Some(append);
            return ClockMove::Started;
        };
        if append.saturating_sub(now) <= SUSPEND_MS {
            self.suspended_since = None;
            self.now = Some(now.max(append));
            return ClockMove::Moved { from: now };
        }
        match self.suspended_since {
            Some(since) if append.saturating_sub(since) >= CONFIRM_MS => {
                self.suspended_since = None;
                self.now = Some(append);
                ClockMove::Leapt
            }
            Some(_) => ClockMove::Suspended,
            None => {
                self.suspended_since = Some(append);
                ClockMove::Suspended
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_needs_a_second_record_ten_seconds_on() {
        let mut clock = PartitionClock::default();
        let moves: Vec<_> = [1_000, 500, 61_000, 121_001, 131_000, 131_001].map(|t| clock.observe(t)).into();
        assert_eq!(
            moves,
            [
                ClockMove::Started,
                ClockMove::Moved { from: 1_000 },
                ClockMove::Moved { from: 1_000 },
                ClockMove::Suspended,
                ClockMove::Suspended,
                ClockMove::Leapt
            ]
        );
        assert_eq!(clock, PartitionClock { now: Some(131_001), suspended_since: None });
    }

    #[test]
    fn a_record_near_the_old_clock_ends_the_suspension() {
        let mut clock = PartitionClock { now: Some(0), suspended_since: None };
        assert_eq!(clock.observe(100_000), ClockMove::Suspended);
        assert_eq!(clock.observe(60_000), ClockMove::Moved { from: 0 });
        assert_eq!(clock, PartitionClock { now: Some(60_000), suspended_since: None });
    }
}
