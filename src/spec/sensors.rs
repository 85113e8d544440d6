//! `sensors:` and `events:`. Called by [`super::document`].

use std::sync::Arc;

use super::grammar::KEYWORDS;
use super::number::MAX_DURATION_MS;
use super::read::{Fields, Report, duration_text};
use super::yaml::{Node, Pos, Value};
use super::{scrape, suggest};
use crate::model::ids::is_sensor_name;
use crate::model::spec::{Sensor, Take, Unit};

const FIELDS: [&str; 8] = [
    "name",
    "unit",
    "interval",
    "no_data_after",
    scrape::FIELDS[0],
    scrape::FIELDS[1],
    scrape::FIELDS[2],
    scrape::FIELDS[3],
];
const NAME_RULE: &str = "letters, digits, `_` and `:`, the first no digit, as Prometheus names metrics";

/// Default of `interval`, ms.
const INTERVAL_MS: i64 = 5_000;
/// The least default of `no_data_after`, ms.
const NO_DATA_AFTER_MS: i64 = 60_000;

/// All units by name.
pub(super) const UNITS: [(&str, Unit); 5] = [
    ("count", Unit::Count),
    ("seconds", Unit::Seconds),
    ("ratio", Unit::Ratio),
    ("percent", Unit::Percent),
    ("usd_per_hour", Unit::UsdPerHour),
];

/// What the spec declares, sensors first, then events.
pub(super) struct Sensors {
    pub list: Vec<Sensor>,
    /// Places of the names, for "declared on line ..".
    places: Vec<Pos>,
}

impl Sensors {
    /// The index of a name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|sensor| &*sensor.name == name)
    }

    /// The names of sensors, or of events.
    pub fn names(&self, events: bool) -> impl Iterator<Item = &str> {
        self.list.iter().filter(move |sensor| sensor.is_event == events).map(|sensor| &*sensor.name)
    }

    /// Adds a sensor unless its name is taken.
    fn add(&mut self, report: &mut Report, sensor: Sensor, pos: Pos) {
        if KEYWORDS.contains(&&*sensor.name) || &*sensor.name == "slo" {
            let message = format!("`{}` is a word of the playbook and cannot name a sensor", sensor.name);
            report.error(pos, message, Some("choose another name".to_owned()));
        } else if let Some(first) = self.find(&sensor.name) {
            let message = format!("`{}` is declared twice, first on line {}", sensor.name, self.places[first].line);
            report.error(pos, message, Some("remove one of them".to_owned()));
        } else {
            self.list.push(sensor);
            self.places.push(pos);
        }
    }
}

/// Reads both lists.
pub(super) fn read(report: &mut Report, document: &Fields<'_>) -> Sensors {
    let mut sensors = Sensors { list: Vec::new(), places: Vec::new() };
    for node in document.get("sensors").map_or(&[][..], |node| report.list(node, "sensors")) {
        if let Some((sensor, pos)) = read_sensor(report, node) {
            sensors.add(report, sensor, pos);
        }
    }
    for node in document.get("events").map_or(&[][..], |node| report.list(node, "events")) {
        if let Some(name) = report.name(node, "event", is_sensor_name, NAME_RULE) {
            sensors.add(report, event(name), node.pos);
        }
    }
    sensors
}

fn event(name: &str) -> Sensor {
    Sensor {
        name: Arc::from(name),
        unit: Unit::Count,
        interval_ms: INTERVAL_MS,
        no_data_after_ms: NO_DATA_AFTER_MS,
        scrape_url: None,
        metric: Arc::from(name),
        matches: Vec::new(),
        take: Take::Value,
        is_event: true,
    }
}

/// One entry of `sensors:`. Only its name is needed to go on.
fn read_sensor(report: &mut Report, node: &Node) -> Option<(Sensor, Pos)> {
    if let Value::Scalar(scalar) = &node.value {
        let help = format!("write `- name: {}`", if scalar.text.is_empty() { "..." } else { &scalar.text });
        report.error(node.pos, "a sensor must be a map of fields", Some(help));
        return None;
    }
    let fields = report.fields(node, "a sensor", &FIELDS)?;
    let unit = fields.get("unit").and_then(|node| read_unit(report, node)).unwrap_or(Unit::Count);
    let interval_ms = fields.duration(report, "interval", 1, MAX_DURATION_MS, INTERVAL_MS);
    let silence_ms = (3 * interval_ms).max(NO_DATA_AFTER_MS);
    let no_data_after_ms = fields.duration(report, "no_data_after", 1, MAX_DURATION_MS, silence_ms);
    let scrape = scrape::read(report, &fields, interval_ms);
    let name_node = fields.required(report, "name")?;
    let name = report.name(name_node, "name", is_sensor_name, NAME_RULE)?;
    let name: Arc<str> = Arc::from(name);
    let sensor = Sensor {
        metric: scrape.metric.unwrap_or_else(|| name.clone()),
        name,
        unit,
        interval_ms,
        no_data_after_ms,
        scrape_url: scrape.url,
        matches: scrape.matches,
        take: scrape.take,
        is_event: false,
    };
    warn_of_silence(report, &fields, "no_data_after", &sensor);
    Some((sensor, name_node.pos))
}

/// Warns at `field` if it makes the pause between two readings no data.
pub(super) fn warn_of_silence(report: &mut Report, fields: &Fields<'_>, field: &str, sensor: &Sensor) {
    if let Some(node) = fields.get(field)
        && sensor.no_data_after_ms < sensor.interval_ms
    {
        let (silence, interval) = (duration_text(sensor.no_data_after_ms), duration_text(sensor.interval_ms));
        let message = format!("no data after {silence}, but a reading comes only every {interval}");
        report.warning(node.pos, message, Some("make it at least 3 intervals".to_owned()));
    }
}

fn read_unit(report: &mut Report, node: &Node) -> Option<Unit> {
    let scalar = report.scalar(node, "unit")?;
    let found = UNITS.iter().find(|(name, _)| *name == scalar.text).map(|(_, unit)| *unit);
    if found.is_none() {
        let names = UNITS.map(|(name, _)| name);
        let help =
            suggest::did_you_mean(&scalar.text, &names).unwrap_or_else(|| format!("units: {}", names.join(", ")));
        report.error(node.pos, format!("unknown unit `{}`", scalar.text), Some(help));
    }
    found
}
