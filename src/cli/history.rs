//! Recorded readings as people keep them: CSV with a header, or JSON lines. Read by `backtest` and by
//! `emit --stdin`.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use anyhow::{Context, bail};
use serde::Deserialize;

/// One recorded reading; what the file leaves out is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// 1-based line (JSON) or record (CSV), for messages.
    pub line: u64,
    /// Event time, ms.
    pub ts: Option<i64>,
    /// Whose.
    pub service: Option<String>,
    /// Of what.
    pub sensor: Option<String>,
    /// May be NaN or infinite, where the file says so.
    pub value: f64,
    /// For actions.
    pub attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct JsonRow {
    #[serde(alias = "timestamp")]
    ts: Option<Stamp>,
    service: Option<String>,
    sensor: Option<String>,
    value: Number,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stamp {
    Ms(i64),
    Text(String),
}

/// A JSON number, or the text of one (`"NaN"`, `"Infinity"`).
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// A number.
    Plain(f64),
    /// Text.
    Text(String),
}

impl Number {
    /// The value.
    ///
    /// # Errors
    /// If the text is no number.
    pub fn value(&self) -> anyhow::Result<f64> {
        match self {
            Self::Plain(value) => Ok(*value),
            Self::Text(text) => text.trim().parse().with_context(|| format!("{text:?} is no number")),
        }
    }
}

/// Reads every row of `input`, calling `take` for each. The first byte tells: `{` is JSON lines, else CSV.
///
/// # Errors
/// At the first row that cannot be read, with its line; or what `take` says.
pub fn read(mut input: impl BufRead, mut take: impl FnMut(Row) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if input.fill_buf()?.trim_ascii_start().first() == Some(&b'{') {
        for (number, line) in input.lines().enumerate() {
            let (line, number) = (line?, number as u64 + 1);
            if !line.trim().is_empty() {
                take(json_row(&line, number).with_context(|| format!("line {number}"))?)?;
            }
        }
        return Ok(());
    }
    read_csv(input, take)
}

fn json_row(line: &str, number: u64) -> anyhow::Result<Row> {
    let row: JsonRow = serde_json::from_str(line)?;
    let ts = match row.ts {
        None => None,
        Some(Stamp::Ms(ms)) => Some(ms),
        Some(Stamp::Text(text)) => Some(parse_time(&text)?),
    };
    let value = row.value.value()?;
    Ok(Row { line: number, ts, service: row.service, sensor: row.sensor, value, attributes: row.attributes })
}

fn read_csv(input: impl Read, mut take: impl FnMut(Row) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
    let headers = reader.headers()?.clone();
    let column = |names: &[&str]| headers.iter().position(|header| names.contains(&header));
    let Some(value_at) = column(&["value"]) else {
        bail!("the CSV's first line must name its columns, `value` among them (and `timestamp`, `sensor`, `service`)");
    };
    let (ts_at, sensor_at, service_at) = (column(&["timestamp", "ts"]), column(&["sensor"]), column(&["service"]));
    for (number, record) in reader.records().enumerate() {
        let number = number as u64 + 1;
        let record = record.with_context(|| format!("record {number}"))?;
        let field = |at: Option<usize>| at.and_then(|at| record.get(at)).filter(|text| !text.is_empty());
        let value = field(Some(value_at)).unwrap_or_default();
        let value = value.parse().with_context(|| format!("record {number}: {value:?} is no number"))?;
        let ts = field(ts_at).map(parse_time).transpose().with_context(|| format!("record {number}"))?;
        take(Row {
            line: number,
            ts,
            service: field(service_at).map(str::to_owned),
            sensor: field(sensor_at).map(str::to_owned),
            value,
            attributes: BTreeMap::new(),
        })?;
    }
    Ok(())
}

/// Milliseconds since the epoch, an RFC 3339 time stamp, or `YYYY-MM-DD HH:MM:SS` (UTC).
///
/// # Errors
/// If it is none of these.
pub fn parse_time(text: &str) -> anyhow::Result<i64> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        return Ok(stamp.as_millisecond());
    }
    let civil: jiff::civil::DateTime = text.parse().with_context(|| {
        format!("{text:?} is no time; write ms since 1970, or 2026-11-24T12:00:00Z, or 2026-11-24 12:00:00 (UTC)")
    })?;
    Ok(civil.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        read(text.as_bytes(), |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn csv_and_json_lines_say_the_same() {
        let csv = rows("timestamp,value\n2015-07-10 14:24:00,564\n").unwrap();
        let json = rows("{\"ts\":1436538240000,\"value\":564}\n\n").unwrap();
        assert_eq!(csv, json);
        assert_eq!(csv[0].ts, Some(1_436_538_240_000));
    }

    #[test]
    fn a_bad_row_is_named() {
        let error = format!("{:#}", rows("timestamp,value\n2015-07-10 14:24:00,x\n").unwrap_err());
        assert!(error.contains("record 1") && error.contains("\"x\""), "{error}");
        let error = format!("{:#}", rows("{\"value\":1}\n{\"value\":}\n").unwrap_err());
        assert!(error.contains("line 2"), "{error}");
    }
}
