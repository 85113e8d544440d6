//! Quantiles of classic histograms: counters by upper bound, each with all that is below it. The same interpolation as
//! Prometheus' `histogram_quantile`, over what was counted between two scrapes. Pure; called by [`super::take`].

use super::text::number;

/// A counter and its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// `le`; the last is +Inf.
    pub upper: f64,
    /// Observations at or below it.
    pub count: f64,
}

/// Orders and checks the buckets, given as `le` and value, and the family's own count if it has one.
///
/// # Errors
/// Why it is no histogram.
pub fn read<'l>(pairs: impl Iterator<Item = (&'l str, f64)>, total: Option<f64>) -> Result<Vec<Bucket>, String> {
    let mut buckets = Vec::new();
    for (le, count) in pairs {
        let upper = number(le).ok().filter(|upper| !upper.is_nan()).ok_or_else(|| format!("le={le:?} is no bound"))?;
        if !(count.is_finite() && count >= 0.0) {
            return Err(format!("the bucket {le} counts {count}"));
        }
        buckets.push(Bucket { upper, count });
    }
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    // `0` and `-0` are one bound.
    if let Some(pair) = buckets.windows(2).find(|pair| pair[0].upper == pair[1].upper) {
        return Err(format!("the bucket {} is there twice", pair[0].upper));
    }
    let Some(Bucket { upper: f64::INFINITY, count: all }) = buckets.last().copied() else {
        return Err("it has no bucket +Inf".to_owned());
    };
    check_order(&buckets)?;
    match total {
        Some(total) if total != all => Err(format!("its count is {total}, its bucket +Inf {all}")),
        _ => Ok(buckets),
    }
}

fn check_order(buckets: &[Bucket]) -> Result<(), String> {
    match buckets.windows(2).find(|pair| pair[1].count < pair[0].count) {
        Some(pair) => Err(format!("the bucket {} counts less than the one below it", pair[1].upper)),
        None => Ok(()),
    }
}

/// What was counted since `before`. Counters that are smaller began anew at 0. None if the bounds are others.
///
/// # Errors
/// The counters did not grow together.
pub fn grown(before: &[Bucket], now: Vec<Bucket>) -> Result<Option<Vec<Bucket>>, String> {
    if before.len() != now.len() || before.iter().zip(&now).any(|(then, now)| then.upper != now.upper) {
        return Ok(None);
    }
    if before.iter().zip(&now).any(|(then, now)| now.count < then.count) {
        return Ok(Some(now));
    }
    let grown: Vec<_> =
        before.iter().zip(&now).map(|(then, now)| Bucket { count: now.count - then.count, ..*now }).collect();
    check_order(&grown)?;
    Ok(Some(grown))
}

/// The quantile, linear within its bucket; none without observations. What lies in the last bucket is said to be at the
/// largest finite bound (+Inf if there is none).
pub fn quantile(buckets: &[Bucket], quantile: f64) -> Option<f64> {
    let all = buckets.last()?.count;
    if all <= 0.0 {
        return None;
    }
    let rank = quantile * all;
    let place = buckets.iter().position(|bucket| bucket.count >= rank).unwrap_or(buckets.len() - 1);
    let Bucket { upper, count } = buckets[place];
    let below = place.checked_sub(1).map(|below| buckets[below]);
    Some(match below {
        _ if place == buckets.len() - 1 => below.map_or(f64::INFINITY, |below| below.upper),
        None if upper <= 0.0 => upper,
        None => upper * (rank / count),
        Some(below) => below.upper + (upper - below.upper) * ((rank - below.count) / (count - below.count)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(&str, f64)]) -> Vec<Bucket> {
        read(pairs.iter().copied(), None).unwrap()
    }

    /// The cases of Prometheus' own test of `histogram_quantile` (promql/promqltest/testdata/histograms.test).
    #[test]
    fn quantiles_are_those_of_prometheus() {
        let positive = buckets(&[(".1", 5.0), (".2", 7.0), ("1e0", 11.0), ("+Inf", 12.0)]);
        let negative =
            buckets(&[("-.25", 1.0), ("-.2", 6.0), ("-.1", 10.0), (".1", 10.0), (".3", 12.0), ("+Inf", 12.0)]);
        for (histogram, q, expected) in [
            (&positive, 0.2, 0.048),
            (&positive, 0.5, 0.15),
            (&positive, 0.8, 0.72),
            (&positive, 0.99, 1.0),
            (&negative, 0.01, -0.25),
            (&negative, 0.2, -0.236),
            (&negative, 0.5, -0.2),
            (&negative, 0.9, 0.18),
        ] {
            let found = quantile(histogram, q).unwrap();
            assert!((found - expected).abs() < 1e-9, "{q}: {found}, not {expected}");
        }
        assert_eq!(quantile(&buckets(&[("1", 0.0), ("+Inf", 0.0)]), 0.5), None);
        assert_eq!(quantile(&buckets(&[("+Inf", 3.0)]), 0.5), Some(f64::INFINITY));
    }

    #[test]
    fn what_is_no_histogram_is_said() {
        for (pairs, total, said) in [
            (&[("1", 1.0), ("2", 2.0)][..], None, "no bucket +Inf"),
            (&[][..], None, "no bucket +Inf"),
            (&[("1", 3.0), ("2", 2.0), ("+Inf", 3.0)][..], None, "counts less"),
            (&[("1", -1.0), ("+Inf", 3.0)][..], None, "counts -1"),
            (&[("1", f64::NAN), ("+Inf", 3.0)][..], None, "counts NaN"),
            (&[("1", f64::INFINITY), ("+Inf", f64::INFINITY)][..], None, "counts inf"),
            (&[("1", 1.0), ("1.0", 2.0), ("+Inf", 3.0)][..], None, "twice"),
            (&[("0", 1.0), ("-0", 2.0), ("+Inf", 3.0)][..], None, "twice"),
            (&[("x", 1.0), ("+Inf", 3.0)][..], None, "no bound"),
            (&[("", 1.0), ("+Inf", 3.0)][..], None, "no bound"),
            (&[("NaN", 1.0), ("+Inf", 3.0)][..], None, "no bound"),
            (&[("1", 1.0), ("+Inf", 3.0)][..], Some(4.0), "its count is 4"),
        ] {
            let error = read(pairs.iter().copied(), total).unwrap_err();
            assert!(error.contains(said), "{pairs:?}: {error}");
        }
        assert!(read([("+Inf", 3.0), ("1", 1.0)].into_iter(), Some(3.0)).is_ok());
    }

    #[test]
    fn what_was_counted_since_is_the_difference_and_after_a_restart_all_of_it() {
        let then = buckets(&[("1", 2.0), ("+Inf", 5.0)]);
        let counts = |now: &[(&str, f64)]| {
            let grown = grown(&then, buckets(now)).unwrap();
            grown.map(|grown| grown.iter().map(|bucket| bucket.count).collect::<Vec<_>>())
        };
        assert_eq!(counts(&[("1", 4.0), ("+Inf", 9.0)]), Some(vec![2.0, 4.0]));
        assert_eq!(counts(&[("1", 1.0), ("+Inf", 9.0)]), Some(vec![1.0, 9.0]), "began anew");
        assert_eq!(counts(&[("2", 4.0), ("+Inf", 9.0)]), None, "other bounds");
        assert!(grown(&then, buckets(&[("1", 4.0), ("+Inf", 6.0)])).is_err(), "2 below, 1 in all");
    }
}
