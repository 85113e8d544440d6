//! `slo:`, and the times that a spec without one has by default. Called by [`super::document`].

use super::number::{Decimal, MAX_DURATION_MS};
use super::read::{Fields, Report, duration_text};
use super::sensors::Sensors;
use super::yaml::Node;
use super::{sensors, suggest};
use crate::model::spec::Slo;

const FIELDS: [&str; 13] = [
    "target",
    "threshold",
    "objective",
    "window_seconds",
    "step",
    "lateness",
    "min_samples",
    "for",
    "no_data_after_seconds",
    "recover_threshold",
    "recover_for",
    "flap_limit",
    "flap_window",
];

/// The field that overrides the target's `no_data_after`.
const SILENCE: &str = "no_data_after_seconds";

const HOUR_MS: i64 = 3_600_000;
/// Longest window, ms.
const MAX_WINDOW_MS: i64 = 24 * HOUR_MS;
/// Shortest step, ms.
const MIN_STEP_MS: i64 = 100;
/// Most steps in a window: that many counters are kept for a series.
const MAX_PANES: i64 = 86_400;

/// The objective, and every time that the service's machines use.
pub(super) struct Timing {
    /// Is there an `slo:`, be it a wrong one? (So that one mistake in it does not make others.)
    pub declared: bool,
    pub slo: Option<Slo>,
    /// The SLO's `for`.
    pub for_ms: i64,
    pub window_ms: i64,
    pub step_ms: i64,
    pub lateness_ms: i64,
    pub recover_for_ms: i64,
    pub flap_limit: u32,
    pub flap_window_ms: i64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            declared: false,
            slo: None,
            for_ms: 0,
            window_ms: 300_000,
            step_ms: 1_000,
            lateness_ms: 1_000,
            recover_for_ms: 60_000,
            flap_limit: 3,
            flap_window_ms: 1_800_000,
        }
    }
}

/// Reads `slo:`; its `no_data_after_seconds` is written into the target.
pub(super) fn read(report: &mut Report, document: &Fields<'_>, declared: &mut Sensors) -> Timing {
    let mut timing = Timing::default();
    let Some(node) = document.get("slo") else { return timing };
    timing.declared = true;
    let Some(fields) = report.fields(node, "`slo`", &FIELDS) else { return timing };
    read_times(report, &fields, &mut timing);
    let target = fields.required(report, "target").and_then(|node| read_target(report, node, declared));
    let threshold = fields.required(report, "threshold").and_then(|node| report.number(node, "threshold"));
    let objective_ppm = match fields.get("objective") {
        Some(node) => read_objective(report, node),
        None => Some(950_000),
    };
    let min_samples = fields.integer(report, "min_samples", 1, 1_000_000, 10);
    let recover_threshold = read_recover_threshold(report, &fields, threshold);
    if let Some(target) = target {
        let sensor = &mut declared.list[target];
        sensor.no_data_after_ms = fields.duration(report, SILENCE, 1, MAX_DURATION_MS, sensor.no_data_after_ms);
        sensors::warn_of_silence(report, &fields, SILENCE, sensor);
        warn_of_few_readings(report, &fields, sensor.interval_ms, min_samples, timing.window_ms);
    }
    if let (Some(target), Some(threshold), Some(recover_threshold), Some(objective_ppm)) =
        (target, threshold, recover_threshold, objective_ppm)
    {
        timing.slo = Some(Slo { target, threshold, recover_threshold, objective_ppm, min_samples });
    }
    timing
}

fn read_times(report: &mut Report, fields: &Fields<'_>, timing: &mut Timing) {
    timing.window_ms = fields.duration(report, "window_seconds", 1, MAX_WINDOW_MS, timing.window_ms);
    timing.step_ms = fields.duration(report, "step", MIN_STEP_MS, HOUR_MS, timing.step_ms);
    timing.lateness_ms = fields.duration(report, "lateness", 0, HOUR_MS, timing.lateness_ms);
    timing.for_ms = fields.duration(report, "for", 0, MAX_DURATION_MS, timing.for_ms);
    timing.recover_for_ms = fields.duration(report, "recover_for", 0, MAX_DURATION_MS, timing.recover_for_ms);
    timing.flap_window_ms = fields.duration(report, "flap_window", 0, MAX_DURATION_MS, timing.flap_window_ms);
    let flap_limit = fields.integer(report, "flap_limit", 1, 1_000_000, timing.flap_limit.into());
    timing.flap_limit = u32::try_from(flap_limit).unwrap_or(timing.flap_limit);
    let place = ["window_seconds", "step"].iter().find_map(|name| fields.get(name)).map_or(fields.pos, |node| node.pos);
    let (window, step) = (duration_text(timing.window_ms), duration_text(timing.step_ms));
    if timing.window_ms % timing.step_ms != 0 {
        let near = (timing.window_ms / timing.step_ms).max(1) * timing.step_ms;
        let message = format!("the window of {window} is not a multiple of the step of {step}");
        report.error(place, message, Some(format!("write `window_seconds: {}`", duration_text(near))));
    } else if timing.window_ms / timing.step_ms > MAX_PANES {
        let message = format!("a window of {window} has more than {MAX_PANES} steps of {step}");
        report.error(place, message, Some("choose a longer step".to_owned()));
    }
}

fn read_target(report: &mut Report, node: &Node, sensors: &Sensors) -> Option<usize> {
    let scalar = report.scalar(node, "target")?;
    let name = scalar.text.as_str();
    match sensors.find(name) {
        Some(index) if sensors.list[index].is_event => {
            let help = "declare it under `sensors:` instead of `events:`".to_owned();
            report.error(node.pos, format!("`{name}` is an event and has no percentile"), Some(help));
            None
        }
        Some(index) => Some(index),
        None => {
            let help = suggest::did_you_mean(name, sensors.names(false))
                .unwrap_or_else(|| "declare it under `sensors:`".to_owned());
            report.error(node.pos, format!("unknown sensor `{name}`"), Some(help));
            None
        }
    }
}

/// The objective in parts per million: strictly between 0 and 1, at most 6 decimals.
fn read_objective(report: &mut Report, node: &Node) -> Option<u32> {
    let scalar = report.scalar(node, "objective")?;
    let ppm = Decimal::parse(&scalar.text).and_then(|decimal| decimal.shifted(6));
    match ppm.and_then(|ppm| u32::try_from(ppm).ok()) {
        Some(ppm) if (1..1_000_000).contains(&ppm) => Some(ppm),
        _ => {
            let message = format!("`objective` must be between 0 and 1 with at most 6 decimals, not `{}`", scalar.text);
            report.error(node.pos, message, Some("95 % is `0.95`".to_owned()));
            None
        }
    }
}

fn read_recover_threshold(report: &mut Report, fields: &Fields<'_>, threshold: Option<f64>) -> Option<f64> {
    let Some(node) = fields.get("recover_threshold") else {
        return threshold.map(|threshold| threshold - 0.1 * threshold.abs());
    };
    let recover = report.number(node, "recover_threshold")?;
    if threshold.is_some_and(|threshold| recover > threshold) {
        let help = "recovered is at or below it, so it is at most the threshold".to_owned();
        report.error(node.pos, "`recover_threshold` is above `threshold`", Some(help));
        return None;
    }
    Some(recover)
}

fn warn_of_few_readings(report: &mut Report, fields: &Fields<'_>, interval_ms: i64, min_samples: u64, window_ms: i64) {
    if i128::from(interval_ms) * i128::from(min_samples) > i128::from(window_ms) {
        let message = format!(
            "a window of {} holds fewer than {min_samples} readings at one every {}: every verdict is `insufficient`",
            duration_text(window_ms),
            duration_text(interval_ms)
        );
        let place = ["min_samples", "window_seconds"].iter().find_map(|name| fields.get(name));
        let help = "lower `min_samples`, or widen `window_seconds`, or set the sensor's `interval`".to_owned();
        report.warning(place.map_or(fields.pos, |node| node.pos), message, Some(help));
    }
}
