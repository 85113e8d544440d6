//! Values of sensors are decimals as a rule: 31.2, 0.417. As whole numbers of tenths or thousandths they take two or
//! three bytes instead of eight, and come back to the last bit. Called by `state` for the values of a rollup.

/// 10 to the number of decimals, as far as they are tried.
const POWERS: [f64; 7] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Whole numbers below this are exact in a double, also times a power.
const LIMIT: f64 = 1e15;

/// With how many decimals all of `values` can be written, if they can.
pub fn of(values: &[f64]) -> Option<usize> {
    let enough = |least, value: &f64| (least..POWERS.len()).find(|decimals| whole(*value, *decimals).is_some());
    let decimals = values.iter().try_fold(0, enough)?;
    // With the decimals of a later one a large one may be too large.
    values.iter().all(|value| whole(*value, decimals).is_some()).then_some(decimals)
}

/// The value as a whole number of its last decimal, if that gives it back to the last bit.
pub fn whole(value: f64, decimals: usize) -> Option<i64> {
    let scaled = (value * POWERS.get(decimals)?).round();
    let whole = (scaled.abs() < LIMIT).then_some(scaled as i64)?;
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
            let found = of(&values).unwrap();
            prop_assert!(found <= decimals);
            for written in values {
                let back = value(whole(written, found).unwrap(), found).unwrap();
                prop_assert_eq!(back.to_bits(), written.to_bits());
            }
        }
    }
}
