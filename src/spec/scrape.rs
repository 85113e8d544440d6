//! How a sensor is scraped: `scrape_url`, `metric`, `match`, `take`. Called by [`super::sensors`].

use std::sync::Arc;

use super::lexer::SyntaxError;
use super::number::Decimal;
use super::read::{Fields, Report};
use super::url;
use super::yaml::{Node, Value};
use crate::model::ids::is_sensor_name;
use crate::model::spec::Take;

/// The fields of a sensor that are read here.
pub(super) const FIELDS: [&str; 4] = ["scrape_url", "metric", "match", "take"];

/// A page is asked for at most so often, ms.
const FASTEST_MS: i64 = 1_000;
const TAKE_HELP: &str = "`value`, `rate`, or a quantile such as `p95` or `quantile 0.999`";

/// What the fields say; all defaults but the metric's, which is the sensor's name.
pub(super) struct Scrape {
    pub url: Option<String>,
    pub metric: Option<Arc<str>>,
    pub matches: Vec<(String, String)>,
    pub take: Take,
}

/// Reads the fields of one sensor.
pub(super) fn read(report: &mut Report, fields: &Fields<'_>, interval_ms: i64) -> Scrape {
    let scrape = Scrape {
        url: fields.get("scrape_url").and_then(|node| read_url(report, node)),
        metric: fields.get("metric").and_then(|node| {
            let rule = "letters, digits, `_` and `:`, the first no digit: the name as it stands on the page";
            report.name(node, "metric", is_sensor_name, rule).map(Arc::from)
        }),
        matches: fields.get("match").map_or_else(Vec::new, |node| read_match(report, node)),
        take: fields.get("take").and_then(|node| read_take(report, node)).unwrap_or(Take::Value),
    };
    match fields.key_pos("scrape_url") {
        Some(pos) if interval_ms < FASTEST_MS => {
            let message = "a page is scraped once a second at most, and this interval is shorter";
            report.warning(pos, message, Some("make it at least `1 s`".to_owned()));
        }
        Some(_) => {}
        None => {
            for (name, pos) in FIELDS.iter().filter_map(|name| Some((name, fields.key_pos(name)?))) {
                let message = format!("`{name}` says how a page is read, and there is no `scrape_url`");
                report.warning(pos, message, Some("add `scrape_url:`, or remove it".to_owned()));
            }
        }
    }
    scrape
}

fn read_url(report: &mut Report, node: &Node) -> Option<String> {
    let scalar = report.scalar(node, "scrape_url")?;
    let checked = url::parse(&scalar.text)
        .and_then(|place| report.networks.as_ref().map_or(Ok(()), |networks| url::check(&place, networks)));
    match checked {
        Ok(()) => Some(scalar.text.clone()),
        Err(error) => {
            report.error(scalar.at(error.at), format!("`scrape_url`: {}", error.message), error.help);
            None
        }
    }
}

/// `match:`, a map of label to value.
fn read_match(report: &mut Report, node: &Node) -> Vec<(String, String)> {
    let Value::Map(entries) = &node.value else {
        let help = "write `match: {label: value}`".to_owned();
        report.error(node.pos, "`match` must be a map of label to value", Some(help));
        return Vec::new();
    };
    let mut matches = Vec::new();
    for (key, value) in entries {
        if !is_sensor_name(&key.text) || key.text.contains(':') {
            let help = "letters, digits and `_`, the first no digit".to_owned();
            report.error(key.pos, format!("`{}` cannot name a label", key.text), Some(help));
        } else if let Some(scalar) = report.scalar(value, &key.text) {
            matches.push((key.text.clone(), scalar.text.clone()));
        }
    }
    matches
}

fn read_take(report: &mut Report, node: &Node) -> Option<Take> {
    let scalar = report.scalar(node, "take")?;
    match take(&scalar.text) {
        Ok(take) => Some(take),
        Err(error) => {
            report.error(scalar.at(error.at), format!("`take`: {}", error.message), error.help);
            None
        }
    }
}

/// `value`, `rate`, `p95`, `p99.9`, `quantile 0.95`.
fn take(text: &str) -> Result<Take, SyntaxError> {
    let quantile = |at: usize, digits: &str, places: u32| {
        let wrong = |message: &str| SyntaxError::new(at, format!("{message}: `{digits}`"), Some(TAKE_HELP));
        let number = Decimal::parse(digits).filter(|_| digits.starts_with(|c: char| c.is_ascii_digit()));
        let number = number.ok_or_else(|| wrong("no decimal number"))?;
        let ppm = number.shifted(places).ok_or_else(|| wrong("a quantile has at most 6 decimals"))?;
        match u32::try_from(ppm) {
            Ok(ppm @ 1..=999_999) => Ok(Take::Quantile { ppm }),
            _ => Err(wrong("a quantile lies between 0 and 1, a percentile between 0 and 100")),
        }
    };
    match text {
        "value" => Ok(Take::Value),
        "rate" => Ok(Take::Rate),
        _ => {
            if let Some(digits) = text.strip_prefix("quantile") {
                let number = digits.trim_start();
                return quantile("quantile".len() + digits.len() - number.len(), number, 6);
            }
            match text.strip_prefix('p') {
                Some(digits) if digits.starts_with(|c: char| c.is_ascii_digit()) => quantile(1, digits, 4),
                _ => Err(SyntaxError::new(0, format!("unknown: `{text}`"), Some(TAKE_HELP))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_however_they_are_written() {
        for (text, expected) in [
            ("value", Take::Value),
            ("rate", Take::Rate),
            ("p95", Take::Quantile { ppm: 950_000 }),
            ("p99.9", Take::Quantile { ppm: 999_000 }),
            ("p0.0001", Take::Quantile { ppm: 1 }),
            ("quantile 0.95", Take::Quantile { ppm: 950_000 }),
            ("quantile  0.999999", Take::Quantile { ppm: 999_999 }),
        ] {
            assert_eq!(take(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantile_is_refused_at_its_place() {
        for (text, at) in [
            ("", 0),
            ("avg", 0),
            ("Rate", 0),
            ("percentile", 0),
            ("p", 0),
            ("p0", 1),
            ("p100", 1),
            ("p95x", 1),
            ("p99.99999", 1),
            ("quantile", 8),
            ("quantile 1", 9),
            ("quantile -0.5", 9),
            ("quantile +0.5", 9),
            ("quantile 0.9999999", 9),
            ("quantile 99999999999999999999999999", 9),
        ] {
            let error = take(text).unwrap_err();
            assert_eq!((error.at, error.help.as_deref()), (at, Some(TAKE_HELP)), "{text}: {error:?}");
        }
    }
}
