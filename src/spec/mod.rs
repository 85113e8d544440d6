//! `*.ops.yaml` -> [`Spec`]: the one parser of specs. Pure; called by the commands that take a spec and by the
//! processor when a text arrives on `ops.services`.
//!
//! text -> [`yaml`] (events -> tree with positions) -> [`document`] (fields) -> [`grammar`] (conditions and
//! actions) -> [`playbook`] (causes, steps) -> [`Spec`]. Whatever is wrong is a [`Finding`] with line and column;
//! [`diagnose`] shows it, [`explain`] tells what a good spec will do.

pub mod diagnose;
mod document;
pub mod explain;
mod grammar;
mod lexer;
mod number;
mod playbook;
mod read;
mod secret;
mod sensors;
mod slo;
pub mod suggest;
mod url;
mod verbs;
mod workload;
mod yaml;

use std::fmt;

use crate::model::spec::{Spec, Unit};

/// A unit as specs write it.
pub fn unit_name(unit: Unit) -> &'static str {
    sensors::UNITS.iter().find(|(_, other)| *other == unit).map_or("count", |(name, _)| name)
}

/// Largest text of a spec, bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// A spec without errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What the text says, all defaults filled in.
    pub spec: Spec,
    /// What is allowed and still worth a look, in file order.
    pub warnings: Vec<Finding>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The spec is refused.
    Error,
    /// The spec is accepted.
    Warning,
}

/// One thing about a text, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
    /// What is wrong: lower case, no full stop. May quote the text: show it through [`diagnose`].
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}: {}", self.line, self.column, diagnose::harmless(&self.message))?;
        match &self.help {
            Some(help) => write!(f, " ({})", diagnose::harmless(help)),
            None => Ok(()),
        }
    }
}

/// Why a text is no spec: at least one error, warnings among them, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

/// Parses and checks the text of one spec. A byte order mark is skipped; [`Spec::text`] and the hash keep it.
pub fn parse(text: &str) -> Result<Checked, Findings> {
    let mut read = read_all(text);
    let findings = match &mut read {
        Ok(checked) => &mut checked.warnings,
        Err(findings) => &mut findings.0,
    };
    findings.iter_mut().for_each(|finding| diagnose::keep_within(text, finding));
    read
}

fn read_all(text: &str) -> Result<Checked, Findings> {
    if text.len() > MAX_BYTES {
        return Err(one_error(too_large()));
    }
    let root = yaml::load(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(one_error)?;
    let leaks = secret::search(&root, text);
    if !leaks.is_empty() {
        // Alone, so that no other message quotes what must not be repeated.
        return Err(Findings(leaks));
    }
    let mut report = read::Report::default();
    let spec = document::read(&mut report, &root, text);
    let findings = report.into_sorted();
    match spec {
        Some(spec) if findings.iter().all(|finding| finding.severity == Severity::Warning) => {
            Ok(Checked { spec, warnings: findings })
        }
        _ => Err(Findings(findings)),
    }
}

/// [`parse`] for bytes of unknown encoding: what is not UTF-8 is an error at its place.
pub fn parse_bytes(bytes: &[u8]) -> Result<Checked, Findings> {
    if bytes.len() > MAX_BYTES {
        return Err(one_error(too_large()));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = diagnose::lines(&good).count();
            let column = diagnose::lines(&good).last().map_or(0, |line| line.chars().count()) + 1;
            let byte = bytes[error.valid_up_to()];
            Err(one_error(Finding {
                severity: Severity::Error,
                line,
                column,
                message: format!("the file is not UTF-8: byte 0x{byte:02x}"),
                help: Some("save the file as UTF-8".to_owned()),
            }))
        }
    }
}

fn too_large() -> Finding {
    Finding {
        severity: Severity::Error,
        line: 1,
        column: 1,
        message: format!("the file is larger than {MAX_BYTES} bytes"),
        help: Some("one service a file".to_owned()),
    }
}

fn one_error(finding: Finding) -> Findings {
    Findings(vec![finding])
}
