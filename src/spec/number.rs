//! Decimals as text, exactly: durations to milliseconds, percent to parts per million, literals to the one
//! binary64 that is nearest. No arithmetic in floats. Called by the readers of fields and by the grammar.

/// Longest duration, ms: 366 days.
pub(super) const MAX_DURATION_MS: i64 = 366 * 86_400_000;

/// The most digits of a decimal: more is a mistake, and fewer than this never overflow below.
const MAX_DIGITS: usize = 24;

/// `mantissa / 10^scale`, negative or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    mantissa: u128,
    scale: u32,
}

impl Decimal {
    /// Reads `[+-] digits [. digits]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (digits, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() + fraction.len() > MAX_DIGITS || !all_digits(whole) || !all_digits(fraction)
        {
            return None;
        }
        let mantissa = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { negative, mantissa, scale: fraction.len() as u32 })
    }

    /// Is it below zero?
    pub fn is_negative(self) -> bool {
        self.negative && self.mantissa != 0
    }

    /// `self x 10^places` if that is whole and not negative.
    pub fn shifted(self, places: u32) -> Option<u64> {
        self.times(1, places)
    }

    /// `self x factor x 10^places` if that is whole, not negative and fits.
    fn times(self, factor: u64, places: u32) -> Option<u64> {
        if self.is_negative() {
            return None;
        }
        let product = self.mantissa.checked_mul(u128::from(factor))?.checked_mul(10_u128.checked_pow(places)?)?;
        let divisor = 10_u128.checked_pow(self.scale)?;
        if product % divisor != 0 {
            return None;
        }
        u64::try_from(product / divisor).ok()
    }

    /// The binary64 nearest to `self x factor / 10^places`.
    pub fn to_f64(self, factor: u64, places: u32) -> f64 {
        // 24 digits and a factor below 10^14 fit in 128 bits.
        let mantissa = self.mantissa * u128::from(factor);
        let text = format!("{mantissa}e-{}", self.scale + places);
        let value: f64 = text.parse().expect("digits, `e` and a small exponent are a float");
        if self.is_negative() { -value } else { value }
    }

    /// The shortest text of the same decimal.
    pub fn canonical(self) -> String {
        let mut digits = format!("{:0width$}", self.mantissa, width = self.scale as usize + 1);
        if self.scale > 0 {
            digits.insert(digits.len() - self.scale as usize, '.');
            digits.truncate(digits.trim_end_matches('0').trim_end_matches('.').len());
        }
        if self.is_negative() { format!("-{digits}") } else { digits }
    }
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeUnit {
    /// Length, ms.
    pub ms: u64,
}

/// Seconds: what a bare number means.
pub(super) const SECONDS: TimeUnit = TimeUnit { ms: 1_000 };

/// The names of the units of time.
pub(super) const TIME_UNITS: [&str; 7] = ["ms", "s", "sec", "m", "min", "h", "d"];

/// The unit of time with that name.
pub(super) fn time_unit(name: &str) -> Option<TimeUnit> {
    let ms = match name {
        "ms" => 1,
        "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(TimeUnit { ms })
}

/// Why a duration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadDuration {
    #[error("a duration cannot be negative")]
    Negative,
    #[error("a duration is a whole number of milliseconds")]
    Fraction,
    #[error("a duration is at most 366 days")]
    TooLong,
}

/// A number of units, ms.
pub(super) fn duration_ms(number: Decimal, unit: TimeUnit) -> Result<i64, BadDuration> {
    if number.is_negative() {
        return Err(BadDuration::Negative);
    }
    // Compared before the division, so that what does not fit is told from what is not whole.
    if number.to_f64(unit.ms, 0) > MAX_DURATION_MS as f64 {
        return Err(BadDuration::TooLong);
    }
    let ms = number.times(unit.ms, 0).ok_or(BadDuration::Fraction)?;
    i64::try_from(ms).map_err(|_| BadDuration::TooLong)
}

/// Reads a finite binary64 as people and JSON write it: `[+-] digits [. digits] [e [+-] digits]`.
pub(super) fn finite(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, exponent) = match body.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (body, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let good = exponent.is_none_or(digits)
        && match number.split_once('.') {
            Some((whole, fraction)) => digits(whole) && digits(fraction),
            None => digits(number),
        };
    // Adding 0.0 makes 0.0 of -0.0, as readings are read.
    good.then(|| text.parse::<f64>().ok()).flatten().filter(|value| value.is_finite()).map(|value| value + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn percent_of_a_ratio_is_the_literal_one_would_write() {
        for (percent, ratio) in [("2", 0.02), ("0.1", 0.001), ("99.99", 0.9999), ("7", 0.07), ("12.3456", 0.123456)] {
            assert_eq!(decimal(percent).to_f64(1, 2).to_bits(), f64::to_bits(ratio), "{percent} %");
        }
    }

    #[test]
    fn durations_are_whole_milliseconds() {
        assert_eq!(duration_ms(decimal("1.5"), SECONDS), Ok(1_500));
        assert_eq!(duration_ms(decimal("0.0005"), TimeUnit { ms: 3_600_000 }), Ok(1_800));
        assert_eq!(duration_ms(decimal("0.0005"), SECONDS), Err(BadDuration::Fraction));
        assert_eq!(duration_ms(decimal("-1"), SECONDS), Err(BadDuration::Negative));
        assert_eq!(duration_ms(decimal("366"), TimeUnit { ms: 86_400_000 }), Ok(MAX_DURATION_MS));
        assert_eq!(duration_ms(decimal("366.0001"), TimeUnit { ms: 86_400_000 }), Err(BadDuration::TooLong));
        assert_eq!(duration_ms(decimal("999999999999999999999999"), SECONDS), Err(BadDuration::TooLong));
    }

    #[test]
    fn decimals_keep_their_value_in_the_shortest_text() {
        for (text, canonical) in [("20.00", "20"), ("0.50", "0.5"), ("007", "7"), ("-0", "0"), ("-1.250", "-1.25")] {
            assert_eq!(decimal(text).canonical(), canonical);
        }
    }

    #[test]
    fn what_is_no_decimal_is_none() {
        for text in ["", "+", "1e3", ".5", "5.", "1_000", "1.2.3", "NaN", "٣", &"9".repeat(25)] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_finite_numbers_are_read() {
        assert_eq!(finite("1e3"), Some(1_000.0));
        assert_eq!(finite("-0").map(f64::to_bits), Some(0));
        for text in ["NaN", ".nan", "inf", ".inf", "-.inf", "1e400", "0x10", "1_000", "", "-", "1e"] {
            assert_eq!(finite(text), None, "{text}");
        }
    }
}
