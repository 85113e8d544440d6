//! Values of sensors are decimals as a rule: 31.2, 0.417. As whole numbers of tenths or thousandths they take two or
//! three bytes instead of eight, and come back to the last bit. So the values of a rollup are written, and so a window
//! keeps them.

use smallvec::SmallVec;

/// 10 to the number of decimals, as far as they are tried.
const POWERS: [f64; 7] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Whole numbers below this are exact in a double, also times a power.
const LIMIT: f64 = 1e15;

/// As many as a rollup has as a rule, and no allocation for them.
pub type Wholes = SmallVec<[i64; 32]>;

/// `values` as whole numbers of their last decimal, and how many decimals that are, the same for all; none if they cannot
/// be written so.
pub fn split(values: &[f64]) -> Option<(usize, Wholes)> {
    let (mut decimals, mut wholes) = (0, Wholes::new());
    loop {
        wholes.extend(values.iter().map_while(|value| whole(*value, decimals)));
        let Some(odd) = values.get(wholes.len()) else { return Some((decimals, wholes)) };
        // With the decimals of a later one a large one may be too large: then none are enough for it.
        decimals = (decimals + 1..POWERS.len()).find(|decimals| whole(*odd, *decimals).is_some())?;
        wholes.clear();
    }
}

/// The value as a whole number of its last decimal, if that gives it back to the last bit.
#[inline]
fn whole(value: f64, decimals: usize) -> Option<i64> {
    let scaled = value * POWERS.get(decimals)?;
    // Rounded without a call; what does not lie next to a whole number does not come back in either case.
    let whole = (scaled.abs() < LIMIT).then_some((scaled + 0.5_f64.copysign(scaled)) as i64)?;
    (self::value(whole, decimals)?.to_bits() == value.to_bits()).then_some(whole)
}

/// The value of a whole number of the last decimal; none for more decimals than are written.
pub fn value(whole: i64, decimals: usize) -> Option<f64> {
    Some(whole as f64 / POWERS.get(decimals)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Option<usize> {
        split(values).map(|(decimals, _)| decimals)
    }

    #[test]
    fn decimals_are_found_and_what_is_none_is_left() {
        assert_eq!(of(&[31.2, 4.0, 0.25]), Some(2));
        assert_eq!((of(&[]), of(&[7.0, -3.0]), of(&[0.1 + 0.2])), (Some(0), Some(0), None));
        assert_eq!(
            (of(&[-0.0]), of(&[f64::NAN]), of(&[f64::INFINITY]), of(&[1e300]), of(&[1e-7])),
            (None, None, None, None, None)
        );
        assert_eq!(of(&[9e14, 0.25]), None, "too large with decimals");
        assert_eq!((whole(31.2, 1), value(312, 1), value(1, 7)), (Some(312), Some(31.2), None));
    }

    proptest! {
        #[test]
        fn what_is_written_with_decimals_comes_back(wholes in prop::collection::vec(-9_999_999_i64..9_999_999, 1..32), decimals in 0_usize..7) {
            let values: Vec<f64> = wholes.iter().map(|whole| value(*whole, decimals).unwrap()).collect();
            let (found, wholes) = split(&values).unwrap();
            prop_assert!(found <= decimals);
            let back: Vec<u64> = wholes.iter().map(|whole| value(*whole, found).unwrap().to_bits()).collect();
            prop_assert_eq!(back, values.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        }
    }
}
