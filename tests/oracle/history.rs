//! Recorded series through the oracle, by the rules of `ops backtest`: a reading was appended when it was
//! measured, a tick came every second in between, and after the end until no timer can fire.

use hms_ops::model::spec::{Spec, Step, Trigger};

use super::partition::parse;
use super::{Entry, Oracle, Outcome, Reading};

/// Distance of two ticks, ms.
const TICK_MS: i64 = 1_000;

/// The rows of a CSV file `timestamp,value`: event time (ms, the text being UTC) and value.
///
/// # Panics
/// If it is none.
pub fn rows(csv: &str) -> Vec<(i64, f64)> {
    let row = |line: &str| {
        let (time, value) = line.split_once(',').unwrap_or_else(|| panic!("no row: {line}"));
        let time: jiff::civil::DateTime = time.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        let time = time.to_zoned(jiff::tz::TimeZone::UTC).unwrap_or_else(|error| panic!("{line}: {error}"));
        (time.timestamp().as_millisecond(), value.parse().unwrap_or_else(|error| panic!("{line}: {error}")))
    };
    csv.lines().skip(1).filter(|line| !line.is_empty()).map(row).collect()
}

/// The log that a history stands for: the spec, the readings of its SLO's target, the ticks.
pub fn log<'a>(text: &str, rows: &'a [(i64, f64)]) -> impl Iterator<Item = Entry> + use<'a> {
    let spec = parse(text);
    let target = spec.slo.as_ref().map(|slo| spec.sensors[slo.target].name.to_string()).expect("an SLO");
    let end = rows.last().map_or(0, |(ts, _)| *ts + quiet_after_ms(&spec));
    let next = rows.iter().skip(1).map(|(ts, _)| *ts).chain([end]).collect::<Vec<i64>>();
    let id = spec.id.to_string();
    let readings = rows.iter().copied().zip(next).flat_map(move |((ts, value), next)| {
        let reading = Reading { service: id.clone(), sensor: target.clone(), ts: Some(ts), value };
        let ticks = (1..).map(move |n| ts + n * TICK_MS).take_while(move |at| *at < next);
        let first = Entry::Record { append: ts, reading: Some(reading) };
        [first].into_iter().chain(ticks.map(|append| Entry::Record { append, reading: None }))
    });
    [Entry::Spec(text.to_owned())].into_iter().chain(readings)
}

/// Runs a history. A log of weeks is long: what no definition can reach any more is dropped on the way.
pub fn run(text: &str, rows: &[(i64, f64)]) -> Outcome {
    let mut oracle = Oracle::new(0);
    let mut told = Vec::new();
    for entry in log(text, rows) {
        told.extend(oracle.step(&entry));
        if matches!(entry, Entry::Record { reading: Some(_), .. }) {
            oracle.forget();
        }
    }
    Outcome { told, counts: oracle.counts }
}

/// After so long a silence nothing can happen any more: windows are empty, held times over or standing still,
/// every look has fired, every episode has ended. Longer than need be.
fn quiet_after_ms(spec: &Spec) -> i64 {
    let silent = spec.sensors.iter().map(|sensor| sensor.no_data_after_ms).max().unwrap_or(0);
    let held = spec.causes.iter().map(|cause| cause.for_ms).max().unwrap_or(0);
    let looks = spec.playbook.iter().map(|step| match step {
        Step::If { trigger: Trigger::StillBreachAfter { after_ms }, .. } => *after_ms,
        _ => 0,
    });
    let escalated = 2 * looks.max().unwrap_or(0);
    let steps = 10 * spec.step_ms + spec.lateness_ms;
    spec.window_ms + silent + held + spec.recover_for_ms + escalated + spec.flap_window_ms + steps
}
