//! Typed reading of the tree: maps with known keys, texts, numbers, durations. What is wrong goes into the
//! [`Report`] and reading goes on, so that one run shows everything. Called by the readers of each part.

use super::number::{self, Decimal};
use super::suggest;
use super::yaml::{Key, Node, Pos, Scalar, Value};
use super::{Finding, Severity, grammar};
use crate::model::network::Networks;

/// The most findings of one text: nobody reads more, and a hostile file would make thousands.
pub(super) const MAX_FINDINGS: usize = 100;

/// What was found so far.
#[derive(Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
    has_error: bool,
    /// Which addresses a spec may name, where that is asked for.
    pub networks: Option<Networks>,
}

impl Report {
    /// A report of a text that may name only these addresses; all, if that is not asked for.
    pub fn within(networks: Option<&Networks>) -> Self {
        Self { networks: networks.cloned(), ..Self::default() }
    }

    /// Notes an error. The help says what to write instead.
    pub fn error(&mut self, pos: Pos, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Error, pos, message.into(), help);
    }

    /// Notes something that is allowed and probably not meant.
    pub fn warning(&mut self, pos: Pos, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Warning, pos, message.into(), help);
    }

    fn push(&mut self, severity: Severity, pos: Pos, message: String, help: Option<String>) {
        let first_error = severity == Severity::Error && !self.has_error;
        if self.findings.len() < MAX_FINDINGS || first_error {
            self.has_error |= first_error;
            self.findings.push(Finding { severity, line: pos.line, column: pos.column, message, help });
        }
    }

    /// Will no more be noted?
    pub fn is_full(&self) -> bool {
        self.has_error && self.findings.len() >= MAX_FINDINGS
    }

    /// All findings in file order.
    pub fn into_sorted(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| (finding.line, finding.column));
        self.findings
    }

    /// The map `node`, its keys checked against `known`.
    pub fn fields<'n>(&mut self, node: &'n Node, what: &'static str, known: &[&str]) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.error(
                node.pos,
                format!("{what} must be a map of fields"),
                Some(format!("known: {}", known.join(", "))),
            );
            return None;
        };
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                let help = suggest::did_you_mean(&key.text, known)
                    .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
                self.error(key.pos, format!("unknown key `{}` in {what}", key.text), Some(help));
            }
        }
        Some(Fields { what, pos: node.pos, entries })
    }

    /// The items of a list.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Scalar(_) | Value::Map(_) => {
                self.error(node.pos, format!("`{what}` must be a list"), Some("begin each item with `- `".to_owned()));
                &[]
            }
        }
    }

    /// A text that is not null and not empty.
    pub fn scalar<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n Scalar> {
        match &node.value {
            Value::Scalar(scalar) if scalar.is_null() || scalar.text.trim().is_empty() => {
                self.error(node.pos, format!("`{what}` has no value"), None);
                None
            }
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => {
                self.error(node.pos, format!("`{what}` must be one value, not a list or a map"), None);
                None
            }
        }
    }

    /// A text that `rule` accepts; `expected` describes the rule.
    pub fn name<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        rule: impl Fn(&str) -> bool,
        expected: &str,
    ) -> Option<&'n str> {
        let scalar = self.scalar(node, what)?;
        if rule(&scalar.text) {
            return Some(&scalar.text);
        }
        self.error(node.pos, format!("`{}` cannot be the `{what}`", scalar.text), Some(expected.to_owned()));
        None
    }

    /// `true` or `false`.
    pub fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        let scalar = self.scalar(node, what)?;
        match scalar.text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                let message = format!("`{what}` must be true or false, not `{other}`");
                self.error(node.pos, message, None);
                None
            }
        }
    }

    /// A whole number in `min..=max`.
    pub fn integer(&mut self, node: &Node, what: &str, min: u64, max: u64) -> Option<u64> {
        let scalar = self.scalar(node, what)?;
        let value = Decimal::parse(&scalar.text).and_then(|decimal| decimal.shifted(0));
        match value.filter(|value| (min..=max).contains(value)) {
            Some(value) => Some(value),
            None => {
                let message = format!("`{what}` must be a whole number from {min} to {max}, not `{}`", scalar.text);
                self.error(node.pos, message, None);
                None
            }
        }
    }

    /// A finite number (binary64).
    pub fn number(&mut self, node: &Node, what: &str) -> Option<f64> {
        let scalar = self.scalar(node, what)?;
        match number::finite(&scalar.text) {
            Some(value) => Some(value),
            None => {
                let message = format!("`{what}` must be a finite number, not `{}`", scalar.text);
                self.error(node.pos, message, Some("digits such as `30` or `0.5`, in the sensor's unit".to_owned()));
                None
            }
        }
    }

    /// A duration in `min_ms..=max_ms`, ms.
    pub fn duration(&mut self, node: &Node, what: &str, min_ms: i64, max_ms: i64) -> Option<i64> {
        let scalar = self.scalar(node, what)?;
        let ms = match grammar::duration(&scalar.text) {
            Ok(ms) => ms,
            Err(error) => {
                self.error(scalar.at(error.at), format!("`{what}`: {}", error.message), error.help);
                return None;
            }
        };
        if (min_ms..=max_ms).contains(&ms) {
            return Some(ms);
        }
        let message = format!(
            "`{what}` must be from {} to {}, not {}",
            duration_text(min_ms),
            duration_text(max_ms),
            duration_text(ms)
        );
        self.error(node.pos, message, None);
        None
    }
}

/// A map whose keys were checked.
#[derive(Clone, Copy)]
pub(super) struct Fields<'n> {
    /// What the map is, for messages.
    pub what: &'static str,
    /// Where it begins.
    pub pos: Pos,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }

    /// The place of a key.
    pub fn key_pos(&self, name: &str) -> Option<Pos> {
        self.entries.iter().find(|(key, _)| key.text == name).map(|(key, _)| key.pos)
    }

    /// The value of a key that must be there.
    pub fn required(&self, report: &mut Report, name: &str) -> Option<&'n Node> {
        let found = self.get(name);
        if found.is_none() {
            let help = Some(format!("add `{name}:`"));
            report.error(self.pos, format!("{} needs `{name}`", self.what), help);
        }
        found
    }

    /// The value of a duration field, ms: `default` if the key is missing, and also (with a finding) if it is
    /// wrong.
    pub fn duration(&self, report: &mut Report, name: &str, min_ms: i64, max_ms: i64, default: i64) -> i64 {
        self.get(name).and_then(|node| report.duration(node, name, min_ms, max_ms)).unwrap_or(default)
    }

    /// The value of a whole number, as [`Fields::duration`].
    pub fn integer(&self, report: &mut Report, name: &str, min: u64, max: u64, default: u64) -> u64 {
        self.get(name).and_then(|node| report.integer(node, name, min, max)).unwrap_or(default)
    }
}

/// A duration as people write it, exactly: `90 s`, `5 min`, `1.5 s`, `500 ms`.
pub(super) fn duration_text(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    if ms == 0 {
        return "0 s".to_owned();
    }
    match UNITS.iter().find(|(length, _)| ms % length == 0) {
        Some((length, unit)) => format!("{} {unit}", ms / length),
        None if ms > 1_000 => {
            let fraction = format!("{:03}", ms % 1_000);
            format!("{}.{} s", ms / 1_000, fraction.trim_end_matches('0'))
        }
        None => format!("{ms} ms"),
    }
}
