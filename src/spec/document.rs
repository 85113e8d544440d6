//! The document as a whole: which fields there are, and in which order they are read. Called by `spec::parse`.

use std::sync::Arc;

use super::read::Report;
use super::yaml::Node;
use super::{playbook, sensors, slo, workload};
use crate::model::ids::{ServiceId, SpecHash, is_service_id};
use crate::model::spec::Spec;

const FIELDS: [&str; 9] = ["id", "owner", "sensors", "events", "slo", "workload", "limits", "dry_run", "playbook"];

/// Reads the document; `None` means that the report holds an error (it may hold one also with a spec).
pub(super) fn read(report: &mut Report, root: &Node, text: &str) -> Option<Spec> {
    let fields = report.fields(root, "the spec", &FIELDS)?;
    let id = fields.required(report, "id").and_then(|node| {
        let expected = "letters, digits, `_`, `.` and `-`, the first a letter or digit, at most 128";
        report.name(node, "id", is_service_id, expected)
    });
    let owner = fields.required(report, "owner").and_then(|node| {
        let rule = |text: &str| text.len() <= 256 && !text.chars().any(char::is_control);
        report.name(node, "owner", rule, "one line, at most 256 bytes")
    });
    let mut sensors = sensors::read(report, &fields);
    let timing = slo::read(report, &fields, &mut sensors);
    let workload = workload::read(report, &fields, id.unwrap_or_default());
    let limits = workload::read_limits(report, &fields);
    let dry_run = fields.get("dry_run").and_then(|node| report.flag(node, "dry_run")).unwrap_or(false);
    let plan = playbook::read(report, &fields, &sensors, &timing);
    Some(Spec {
        id: ServiceId::new(id?)?,
        owner: owner?.to_owned(),
        sensors: exact(sensors.list),
        slo: timing.slo,
        window_ms: timing.window_ms,
        step_ms: timing.step_ms,
        lateness_ms: timing.lateness_ms,
        recover_for_ms: timing.recover_for_ms,
        flap_limit: timing.flap_limit,
        flap_window_ms: timing.flap_window_ms,
        causes: exact(plan.causes),
        workload,
        limits,
        dry_run,
        playbook: exact(plan.steps),
        text: Arc::from(text),
        hash: SpecHash::of(text),
    })
}

/// Without the room that it grew by: a processor keeps the specs of 100,000 services.
fn exact<T>(mut list: Vec<T>) -> Vec<T> {
    list.shrink_to_fit();
    list
}
