//! `workload:` and `limits:`: what scaling acts on, and its bounds. Called by [`super::document`].

use super::read::{Fields, Report};
use super::suggest;
use super::yaml::{Node, Value};
use crate::model::spec::{Limits, Workload};

const FIELDS: [&str; 4] = ["name", "kind", "namespace", "context"];
const KINDS: [&str; 2] = ["deployment", "statefulset"];
const MAX_REPLICAS: u64 = 100_000;

/// Reads `workload: kind/name`, or a map of `name` (`kind/name`, or the name with `kind` apart), `namespace`
/// and `context`.
pub(super) fn read(report: &mut Report, document: &Fields<'_>, id: &str) -> Workload {
    let mut workload = Workload { kind: KINDS[0].to_owned(), name: label_of(id), namespace: None, context: None };
    let Some(node) = document.get("workload") else { return workload };
    if let Value::Scalar(_) = node.value {
        read_reference(report, node, &mut workload);
        return workload;
    }
    let Some(fields) = report.fields(node, "`workload`", &FIELDS) else { return workload };
    if let Some(node) = fields.get("name") {
        read_reference(report, node, &mut workload);
    }
    if let Some(node) = fields.get("kind")
        && let Some(scalar) = report.scalar(node, "kind")
    {
        read_kind(report, node, &scalar.text, &mut workload);
    }
    workload.namespace = fields.get("namespace").and_then(|node| {
        let rule = |text: &str| text.len() <= 63 && !text.contains('.') && is_dns_name(text);
        report.name(node, "namespace", rule, "lower case letters, digits and `-`, at most 63").map(str::to_owned)
    });
    workload.context = fields.get("context").and_then(|node| {
        let rule = |text: &str| text.len() <= 253 && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        report.name(node, "context", rule, "the name of a context of the kubeconfig").map(str::to_owned)
    });
    workload
}

/// `kind/name` or a name alone.
fn read_reference(report: &mut Report, node: &Node, workload: &mut Workload) {
    let Some(scalar) = report.scalar(node, "workload") else { return };
    let name = match scalar.text.rsplit_once('/') {
        Some((kind, name)) => {
            read_kind(report, node, kind, workload);
            name
        }
        None => &scalar.text,
    };
    if is_dns_name(name) {
        workload.name = name.to_owned();
    } else {
        let help = "write `deployment/name`; names have lower case letters, digits, `-` and `.`".to_owned();
        report.error(node.pos, format!("`{name}` cannot name a workload"), Some(help));
    }
}

fn read_kind(report: &mut Report, node: &Node, text: &str, workload: &mut Workload) {
    let kind = text.to_ascii_lowercase();
    if KINDS.contains(&kind.as_str()) || is_custom_kind(&kind) {
        workload.kind = kind;
        return;
    }
    let help = suggest::did_you_mean(&kind, &KINDS)
        .unwrap_or_else(|| format!("{}, or `resource.group/version`", KINDS.join(", ")));
    report.error(node.pos, format!("unknown kind of workload `{text}`"), Some(help));
}

/// `resource.group/version`, such as `rollouts.argoproj.io/v1alpha1`.
fn is_custom_kind(kind: &str) -> bool {
    kind.split_once('/').is_some_and(|(resource, version)| {
        resource.contains('.')
            && is_dns_name(resource)
            && version.starts_with('v')
            && version.len() <= 32
            && version.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

/// A DNS-1123 subdomain: what Kubernetes takes as a name.
fn is_dns_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inside)
        })
}

/// The service's id as a DNS-1123 label.
fn label_of(id: &str) -> String {
    let label: String = id
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            '_' | '.' => '-',
            other => other,
        })
        .take(63)
        .collect();
    label.trim_end_matches('-').to_owned()
}

/// Reads `limits:`; what is not there stays `None`.
pub(super) fn read_limits(report: &mut Report, document: &Fields<'_>) -> Limits {
    let Some(node) = document.get("limits") else { return Limits::default() };
    let Some(fields) = report.fields(node, "`limits`", &["min", "max", "max_step"]) else {
        return Limits::default();
    };
    let mut read = |name: &str, least: u64| {
        let value = fields.get(name).and_then(|node| report.integer(node, name, least, MAX_REPLICAS))?;
        u32::try_from(value).ok()
    };
    let limits = Limits { min: read("min", 0), max: read("max", 1), max_step: read("max_step", 1) };
    if let (Some(min), Some(max)) = (limits.min, limits.max)
        && min > max
    {
        let pos = fields.get("min").map_or(fields.pos, |node| node.pos);
        report.error(pos, format!("`min` {min} is above `max` {max}"), Some("lower `min` or raise `max`".to_owned()));
    }
    limits
}
