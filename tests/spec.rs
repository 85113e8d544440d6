//! Specs: the file formats' promises, one file each.

#[path = "spec/accepted.rs"]
mod accepted;
#[path = "spec/command.rs"]
mod command;
#[path = "spec/hostile.rs"]
mod hostile;
#[path = "spec/positions.rs"]
mod positions;
#[path = "spec/random.rs"]
mod random;

use hms_ops::model::network::Networks;
use hms_ops::model::spec::Spec;
use hms_ops::spec::{self, Finding, Severity};

/// The reference example, as it ships.
const EXAMPLE: &str = include_str!("../examples/scanner.ops.yaml");

/// A spec that is good as it stands, to be broken in one place.
const GOOD: &str = "\
id: svc
owner: tests
sensors:
  - {name: q, interval: 0.5}
  - {name: error_rate, unit: ratio}
  - {name: load, unit: percent}
  - {name: cost_hourly, unit: usd_per_hour}
  - {name: wait, unit: seconds}
events:
  - unauthorized_login
slo:
  target: q
  threshold: 30
  window_seconds: 10
playbook:
  - if: slo_breach
    then: page channel=ops
";

/// [`GOOD`] with one line replaced by others.
fn with(line: &str, replacement: &str) -> String {
    assert_eq!(GOOD.matches(line).count(), 1, "{line:?} is not one place of the text");
    GOOD.replace(line, replacement)
}

/// [`GOOD`] with one step.
fn step(condition: &str, action: &str) -> String {
    with("  - if: slo_breach\n    then: page channel=ops\n", &format!("  - if: {condition}\n    then: {action}\n"))
}

fn good(text: &str) -> Spec {
    match spec::lint(text, &Networks::default()) {
        Ok(checked) => checked.spec,
        Err(findings) => panic!("{findings}\n{text}"),
    }
}

/// The errors of a bad text, each with a place and a message.
fn errors(text: &str) -> Vec<Finding> {
    match spec::lint(text, &Networks::default()) {
        Ok(_) => panic!("no error in\n{text}"),
        Err(findings) => checked_errors(findings.0, text),
    }
}

fn checked_errors(findings: Vec<Finding>, text: &str) -> Vec<Finding> {
    let errors: Vec<Finding> = findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert!(!errors.is_empty(), "refused without an error:\n{text}");
    for error in &errors {
        assert!(error.line > 0 && error.column > 0, "{error:?}");
        assert!(error.line <= text.split(['\n', '\r']).count(), "{error:?}");
        assert!(!error.message.is_empty() && !error.message.ends_with('.'), "{error:?}");
    }
    errors
}

/// The one error of a bad text.
fn error(text: &str) -> Finding {
    let mut errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:#?}\n{text}");
    errors.remove(0)
}

fn warnings(text: &str) -> Vec<String> {
    spec::parse(text).expect("a good spec").warnings.into_iter().map(|finding| finding.message).collect()
}
