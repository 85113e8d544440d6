//! Recorded time onto now: a history of weeks runs through the pipeline in minutes, at the distances it had.
//!
//! Pure: the caller says what time it is and waits. Used by `ops emit --retime`.

/// Maps recorded event times onto the present: the first one onto the start, the others at `1 / speed` of their
/// distance from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retime {
    speed: f64,
    origin: Option<Origin>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Origin {
    recorded: i64,
    now: i64,
}

impl Retime {
    /// `speed` recorded milliseconds pass in one. `None` if it is not above 0.
    pub fn new(speed: f64) -> Option<Self> {
        (speed.is_finite() && speed > 0.0).then_some(Self { speed, origin: None })
    }

    /// The time, ms, that takes the place of a recorded one. The first call fixes that `recorded` is `now`.
    pub fn due(&mut self, recorded: i64, now: i64) -> i64 {
        let origin = *self.origin.get_or_insert(Origin { recorded, now });
        // Saturates: a distance that long never comes due.
        let distance = recorded.saturating_sub(origin.recorded) as f64 / self.speed;
        origin.now.saturating_add(distance.round() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_shrink_by_the_speed_from_the_first_reading_on() {
        let mut retime = Retime::new(600.0).unwrap();
        assert_eq!(retime.due(1_000_000, 77_000), 77_000);
        assert_eq!(retime.due(1_300_000, 99_999), 77_500, "5 minutes in half a second");
        assert_eq!(retime.due(999_400, 99_999), 76_999, "earlier than the first");
        let mut slow = Retime::new(1e-9).unwrap();
        assert_eq!([slow.due(1, 5), slow.due(i64::MAX, 5)], [5, i64::MAX], "no overflow");
    }

    #[test]
    fn a_speed_that_would_stand_still_or_run_backwards_is_refused() {
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Retime::new(speed), None, "{speed}");
        }
    }
}
