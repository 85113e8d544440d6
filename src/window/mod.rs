//! Pure arithmetic over event time: the clock of a partition, counters per step, the latest reading, the
//! digest that is shown.
//!
//! Nothing here knows specs' conditions, incidents or the bus.

use std::cmp::Ordering;

pub mod clock;
pub mod digest;
pub mod latest;
pub mod panes;

/// The smallest multiple of `step` that is not below `value`.
///
/// Saturates at the ends of `i64`, which no accepted event time reaches.
pub fn round_up(value: i64, step: i64) -> i64 {
    let below = value.div_euclid(step).saturating_mul(step);
    if below == value { value } else { below.saturating_add(step) }
}

/// Where the step that ends at `end` is among steps whose ends ascend, or else where it would be put. From behind, as
/// readings come nearly in order.
pub fn place_of(ends: impl DoubleEndedIterator<Item = i64> + ExactSizeIterator, end: i64) -> Result<usize, usize> {
    let mut place = ends.len();
    for other in ends.rev() {
        match other.cmp(&end) {
            Ordering::Less => break,
            Ordering::Equal => return Ok(place - 1),
            Ordering::Greater => place -= 1,
        }
    }
    Err(place)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_step_is_found_or_has_its_place() {
        let ends = [10_i64, 20, 30];
        let found = [5, 10, 15, 30, 35].map(|end| super::place_of(ends.into_iter(), end));
        assert_eq!(found, [Err(0), Ok(0), Err(1), Ok(2), Err(3)]);
    }

    #[test]
    fn rounding_up_keeps_multiples() {
        for (value, up) in [(0, 0), (1, 500), (499, 500), (500, 500), (501, 1000), (-1, 0), (-500, -500)] {
            assert_eq!(super::round_up(value, 500), up, "{value}");
        }
    }
}
