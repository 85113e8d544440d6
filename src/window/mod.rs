//! Pure arithmetic over event time: the clock of a partition, counters per step, the latest reading, the
//! digest that is shown.
//!
//! Nothing here knows specs' conditions, incidents or the bus.

pub mod clock;
pub mod digest;
pub mod latest;
pub mod panes;
pub mod sketches;
pub mod steps;

/// The smallest multiple of `step` that is not below `value`.
///
/// Saturates at the ends of `i64`, which no accepted event time reaches.
pub fn round_up(value: i64, step: i64) -> i64 {
    let below = value.div_euclid(step).saturating_mul(step);
    if below == value { value } else { below.saturating_add(step) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn rounding_up_keeps_multiples() {
        for (value, up) in [(0, 0), (1, 500), (499, 500), (500, 500), (501, 1000), (-1, 0), (-500, -500)] {
            assert_eq!(super::round_up(value, 500), up, "{value}");
        }
    }
}
