//! `playbook:` -> causes and steps: names are looked up, literals get the sensor's unit, conditions that parse to
//! the same become one cause. Called by [`super::document`].

use std::sync::Arc;

use super::grammar::{self, KEYWORDS, Literal, LiteralKind, Name, SyntaxError};
use super::number::{SECONDS, TIME_UNITS, time_unit};
use super::read::{Fields, Report, duration_text};
use super::sensors::Sensors;
use super::slo::Timing;
use super::yaml::{Node, Scalar, Value};
use super::{suggest, verbs};
use crate::model::spec::{Call, Cause, Condition, Step, Trigger, Unit};

const STEP_FIELDS: [&str; 4] = ["if", "then", "always", "log_to"];
const ARCHIVE: &str = "HMS-DTA";
const STEP_HELP: &str = "a step is `if:` and `then:`, or `always:` and `log_to: HMS-DTA`";

/// What the playbook makes of a spec.
pub(super) struct Plan {
    pub causes: Vec<Cause>,
    pub steps: Vec<Step>,
}

/// Reads the playbook. The SLO's cause is there with or without a step for it.
pub(super) fn read(report: &mut Report, document: &Fields<'_>, sensors: &Sensors, timing: &Timing) -> Plan {
    let mut reader = Reader { report, sensors, timing, causes: Vec::new() };
    if timing.declared {
        reader.cause(Condition::Slo, timing.for_ms, "slo");
    }
    let mut steps = Vec::new();
    if let Some(node) = document.get("playbook") {
        let items = reader.report.list(node, "playbook");
        for item in items {
            if reader.report.is_full() {
                break;
            }
            steps.extend(reader.step(item));
        }
        let pages = |step: &Step| matches!(step, Step::If { calls, .. } if calls.iter().any(|c| c.verb == "page"));
        if !steps.is_empty() && steps.len() == items.len() && !steps.iter().any(pages) {
            let pos = document.key_pos("playbook").unwrap_or(node.pos);
            let help = "add a step such as `- if: still_breach_after 5 min` with `then: page channel=...`".to_owned();
            reader.report.warning(pos, "no step of the playbook pages anybody", Some(help));
        }
    }
    Plan { causes: reader.causes, steps }
}

struct Reader<'r> {
    report: &'r mut Report,
    sensors: &'r Sensors,
    timing: &'r Timing,
    causes: Vec<Cause>,
}

impl Reader<'_> {
    fn step(&mut self, node: &Node) -> Option<Step> {
        if !matches!(node.value, Value::Map(_)) {
            self.report.error(node.pos, "a step must be a map of fields", Some(STEP_HELP.to_owned()));
            return None;
        }
        let fields = self.report.fields(node, "a step", &STEP_FIELDS)?;
        let conditional = fields.get("if").is_some() || fields.get("then").is_some();
        let always = fields.get("always").is_some() || fields.get("log_to").is_some();
        match (conditional, always) {
            (true, false) => self.conditional(&fields),
            (false, true) => self.always(&fields),
            (true, true) => {
                let message = "a step is either conditional or `always`, not both";
                self.report.error(node.pos, message, Some(STEP_HELP.to_owned()));
                None
            }
            (false, false) => {
                self.report.error(node.pos, "a step without `if:`", Some(STEP_HELP.to_owned()));
                None
            }
        }
    }

    fn conditional(&mut self, fields: &Fields<'_>) -> Option<Step> {
        let condition = fields.required(self.report, "if").and_then(|node| self.report.scalar(node, "if"));
        let action = fields.required(self.report, "then").and_then(|node| self.report.scalar(node, "then"));
        let trigger = condition.and_then(|scalar| {
            let trigger = grammar::condition(&scalar.text).and_then(|condition| self.trigger(&condition, scalar));
            self.noted(trigger, scalar)
        });
        let calls = action.and_then(|scalar| {
            let calls = grammar::action(&scalar.text)
                .and_then(|calls| calls.iter().map(verbs::call).collect::<Result<Vec<Call>, _>>());
            self.noted(calls, scalar)
        });
        Some(Step::If { trigger: trigger?, calls: calls? })
    }

    /// `{always: null, log_to: HMS-DTA}`, or `log_to` nested in `always`.
    fn always(&mut self, fields: &Fields<'_>) -> Option<Step> {
        let nested = match fields.required(self.report, "always")? {
            Node { value: Value::Scalar(scalar), .. } if scalar.is_null() => None,
            node => Some(self.report.fields(node, "`always`", &["log_to"])?),
        };
        let node = match (&nested, fields.get("log_to")) {
            (Some(_), Some(node)) => {
                let help = "remove one of them".to_owned();
                self.report.error(node.pos, "`log_to` is given twice", Some(help));
                return None;
            }
            (Some(nested), None) => nested.required(self.report, "log_to")?,
            (None, _) => fields.required(self.report, "log_to")?,
        };
        let scalar = self.report.scalar(node, "log_to")?;
        if scalar.text != ARCHIVE {
            let help = format!("write `log_to: {ARCHIVE}`");
            self.report.error(node.pos, format!("unknown archive `{}`", scalar.text), Some(help));
            return None;
        }
        Some(Step::Always { log_to: scalar.text.clone() })
    }

    /// The value, or the error at its place in the file.
    fn noted<T>(&mut self, result: Result<T, SyntaxError>, scalar: &Scalar) -> Option<T> {
        result.map_err(|error| self.report.error(scalar.at(error.at), error.message, error.help)).ok()
    }

    fn trigger(&mut self, condition: &grammar::Condition<'_>, scalar: &Scalar) -> Result<Trigger, SyntaxError> {
        let text = scalar.text.trim();
        let start = scalar.text.chars().take_while(|c| c.is_whitespace()).count();
        let needs_slo = !matches!(condition, grammar::Condition::Event(_) | grammar::Condition::Comparison { .. });
        if needs_slo && !self.timing.declared {
            let word = text.split_whitespace().next().unwrap_or_default();
            return Err(SyntaxError::new(start, format!("`{word}` needs an `slo:`"), Some("add `slo:`")));
        }
        match condition {
            grammar::Condition::SloBreach => Ok(Trigger::Opened { cause: 0 }),
            grammar::Condition::Recovered => Ok(Trigger::Recovered),
            grammar::Condition::StillBreachAfter { after_ms, after_at } => self.still_breach(*after_ms, *after_at),
            grammar::Condition::NoData { for_ms } => Ok(self.opened(Condition::NoData, *for_ms, text)),
            grammar::Condition::Event(name) => {
                let sensor = self.event(*name)?;
                Ok(self.opened(Condition::Event { sensor }, 0, text))
            }
            grammar::Condition::Comparison { sensor, op, literal, for_ms } => {
                let sensor = self.sensor(*sensor)?;
                let literal = comparable(literal, &self.sensors.list[sensor].name, self.sensors.list[sensor].unit)?;
                Ok(self.opened(Condition::Comparison { sensor, op: *op, literal }, *for_ms, text))
            }
        }
    }

    fn opened(&mut self, condition: Condition, for_ms: i64, text: &str) -> Trigger {
        Trigger::Opened { cause: self.cause(condition, for_ms, text) }
    }

    /// The index of the cause, which is added if it is new.
    fn cause(&mut self, condition: Condition, for_ms: i64, text: &str) -> usize {
        let same = |cause: &Cause| cause.condition == condition && cause.for_ms == for_ms;
        self.causes.iter().position(same).unwrap_or_else(|| {
            self.causes.push(Cause { condition, for_ms, text: Arc::from(text) });
            self.causes.len() - 1
        })
    }

    fn still_breach(&self, after_ms: i64, at: usize) -> Result<Trigger, SyntaxError> {
        let step_ms = self.timing.step_ms;
        let after_ms = (after_ms + step_ms - 1) / step_ms * step_ms;
        // A wrong `slo:` has its own error; without its target there is no interval to compare with.
        let target = self.timing.slo.as_ref().map(|slo| &self.sensors.list[slo.target]);
        let least_ms = target.map_or(0, |target| 4 * target.interval_ms);
        if after_ms < least_ms || after_ms == 0 {
            let (after, least) = (duration_text(after_ms), duration_text(least_ms.max(step_ms)));
            let message = format!("{after} is too soon to tell: the least is 4 intervals of the target, {least}");
            return Err(SyntaxError::new(at, message, Some(&format!("write `still_breach_after {least}`"))));
        }
        Ok(Trigger::StillBreachAfter { after_ms })
    }

    fn event(&self, name: Name<'_>) -> Result<usize, SyntaxError> {
        match self.sensors.find(name.text) {
            Some(index) if self.sensors.list[index].is_event => Ok(index),
            Some(_) => {
                let message = format!("`{}` is a sensor: it needs a comparison", name.text);
                Err(SyntaxError::new(name.at, message, Some(&format!("write `{} > ...`", name.text))))
            }
            None => {
                let known = KEYWORDS.into_iter().chain(self.sensors.names(true)).chain(self.sensors.names(false));
                let help = suggest::did_you_mean(name.text, known)
                    .unwrap_or_else(|| "conditions are words, events declared under `events:`, comparisons".to_owned());
                let message = format!("unknown condition `{}`", name.text);
                Err(SyntaxError { at: name.at, message, help: Some(help) })
            }
        }
    }

    fn sensor(&self, name: Name<'_>) -> Result<usize, SyntaxError> {
        match self.sensors.find(name.text) {
            Some(index) if self.sensors.list[index].is_event => {
                let message = format!("`{}` is an event: it is not compared", name.text);
                Err(SyntaxError::new(name.at, message, Some(&format!("write `if: {}`", name.text))))
            }
            Some(index) => Ok(index),
            None => {
                let help = suggest::did_you_mean(name.text, self.sensors.names(false))
                    .unwrap_or_else(|| "declare it under `sensors:`".to_owned());
                let message = format!("unknown sensor `{}`", name.text);
                Err(SyntaxError { at: name.at, message, help: Some(help) })
            }
        }
    }
}

/// The literal in the unit of the sensor's readings.
fn comparable(literal: &Literal<'_>, sensor: &str, unit: Unit) -> Result<f64, SyntaxError> {
    let wrong = |message: String, help: &str| Err(SyntaxError::new(literal.at, message, Some(help)));
    let value = match (literal.kind, unit) {
        (LiteralKind::Number(number, ""), _) => number.to_f64(1, 0),
        (LiteralKind::Number(number, name), Unit::Seconds) => match time_unit(name) {
            Some(time) => number.to_f64(time.ms, SECONDS.ms.ilog10()),
            None => return Err(grammar::unknown_unit(name, literal.at)),
        },
        (LiteralKind::Number(_, name), _) if TIME_UNITS.contains(&name) => {
            return wrong(format!("a time is compared with `{sensor}`"), "declare the sensor with `unit: seconds`");
        }
        (LiteralKind::Number(_, name), _) => {
            return wrong(format!("unknown unit `{name}`"), "write the number in the sensor's unit");
        }
        (LiteralKind::Percent(percent) | LiteralKind::Money(percent), _) if percent.is_negative() => {
            return wrong("percent and money are not negative".to_owned(), "write the number alone");
        }
        (LiteralKind::Percent(percent), Unit::Ratio | Unit::Percent) => match (percent.shifted(4), unit) {
            (None, _) => return wrong("percent have at most 4 decimals".to_owned(), "round it"),
            (Some(_), Unit::Ratio) => percent.to_f64(1, 2),
            (Some(_), _) => percent.to_f64(1, 0),
        },
        (LiteralKind::Percent(_), _) => {
            let help = "declare the sensor with `unit: ratio` (0 to 1) or `unit: percent` (0 to 100)";
            return wrong(format!("`%` needs a ratio or percent sensor, and `{sensor}` is none"), help);
        }
        (LiteralKind::Money(dollars), Unit::UsdPerHour) => match dollars.shifted(6) {
            Some(_) => dollars.to_f64(1, 0),
            None => return wrong("money has at most 6 decimals".to_owned(), "round it"),
        },
        (LiteralKind::Money(_), _) => {
            let help = "declare the sensor with `unit: usd_per_hour`";
            return wrong(format!("`$` needs a sensor of money, and `{sensor}` is none"), help);
        }
        (LiteralKind::Name, _) => {
            let message = format!("`{}` is no number", literal.text);
            return wrong(message, "compare with a number such as `5`, `0.5`, `2 %` or `$500`");
        }
    };
    // Adding 0.0 makes 0.0 of -0.0, as readings are read.
    Ok(value + 0.0)
}
