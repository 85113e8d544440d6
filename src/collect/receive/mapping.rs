//! From the names and labels of other worlds to (service, sensor): the `[receive]` table of `ops.toml`. Pure.
//!
//! ```toml
//! [receive]
//! attributes = ["instance", "pod", "version"]       # labels that readings keep (this is the default)
//!
//! [[receive.map]]                                   # the first rule that matches decides
//! metric = "http_request_duration_*"                # a name, or its beginning
//! match = { env = "prod" }                          # labels that must have these values
//! service_label = "app"                             # or service = "DCA_Scanner"; else as without a rule
//! sensor = "latency_seconds"                        # else the metric's name
//! take = "rate"                                     # of a counter, a second; else "value"
//! attributes = ["pod"]                              # instead of those above
//! ```
//!
//! Without a rule the service is the first that is registered of the labels `service`, `service_name`, `job`, and the
//! sensor is called as the metric. What names no registered service, or no sensor that its spec declares, is ignored: a
//! sender sends all it has, and what counts here is declared.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::ServiceId;
use crate::sdk::Catalog;

/// The label of Prometheus that holds a metric's name.
pub const NAME: &str = "__name__";

/// Labels that may name the service, in this order.
const SERVICE_LABELS: [&str; 3] = ["service", "service_name", "job"];

/// The table, as it is written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    attributes: Vec<String>,
    map: Vec<Rule>,
}

impl Default for Mapping {
    fn default() -> Self {
        Self { attributes: ["instance", "pod", "version"].map(str::to_owned).to_vec(), map: Vec::new() }
    }
}

/// One rule of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Rule {
    metric: String,
    #[serde(default, rename = "match")]
    matches: BTreeMap<String, String>,
    service: Option<String>,
    service_label: Option<String>,
    sensor: Option<String>,
    #[serde(default)]
    take: Take,
    attributes: Option<Vec<String>>,
}

/// What becomes of a sample's number.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// The number itself.
    #[default]
    Value,
    /// By how much it has grown a second since the one before.
    Rate,
}

/// Where the samples of a series go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Registered.
    pub service: ServiceId,
    /// Declared by its spec.
    pub sensor: String,
    /// Kept on every reading.
    pub attributes: BTreeMap<String, String>,
    /// What becomes of the numbers.
    pub take: Take,
}

/// The labels of a series, names and values.
pub type Labels<'a> = [(&'a str, &'a str)];

impl Mapping {
    /// What a rule says twice or cannot mean.
    ///
    /// # Errors
    /// The first such thing, for people.
    pub fn check(&self) -> Result<(), String> {
        for rule in &self.map {
            let refused = |why: &str| Err(format!("receive.map, metric {:?}: {why}", rule.metric));
            if rule.service.is_some() && rule.service_label.is_some() {
                return refused("give service or service_label");
            }
            if rule.service.as_deref().is_some_and(|service| ServiceId::new(service).is_none()) {
                return refused("service is no id of a service");
            }
            if rule.sensor.as_deref().is_some_and(|sensor| !crate::model::ids::is_sensor_name(sensor)) {
                return refused("sensor is no name of a sensor");
            }
            if rule.metric.trim_end_matches('*').contains('*') || rule.metric.is_empty() {
                return refused("metric is a name, or its beginning and a *");
            }
        }
        Ok(())
    }

    /// Where the samples of a metric with these labels go; `None` if nobody has asked for them.
    pub fn target(&self, metric: &str, labels: &Labels<'_>, catalog: &Catalog) -> Option<Target> {
        let label = |name: &str| labels.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        let rule = self.map.iter().find(|rule| rule.matches(metric, label));
        let registered = |name: &str| catalog.get(name).ok();
        let (service, entry) = match rule.map(|rule| (&rule.service, &rule.service_label)) {
            Some((Some(service), _)) => registered(service)?,
            Some((None, Some(name))) => registered(label(name)?)?,
            _ => SERVICE_LABELS.iter().filter_map(|name| label(name)).find_map(registered)?,
        };
        let sensor = rule.and_then(|rule| rule.sensor.as_deref()).unwrap_or(metric);
        // A text that only another release understands: let the processor judge.
        if entry.spec.as_ref().is_ok_and(|spec| spec.sensor(sensor).is_none()) {
            return None;
        }
        let kept = rule.and_then(|rule| rule.attributes.as_ref()).unwrap_or(&self.attributes);
        let attributes = kept.iter().filter_map(|name| Some((name.clone(), label(name)?.to_owned())));
        Some(Target {
            service: service.clone(),
            sensor: sensor.to_owned(),
            attributes: attributes.collect(),
            take: rule.map_or(Take::Value, |rule| rule.take),
        })
    }
}

impl Rule {
    fn matches<'a>(&self, metric: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let named = match self.metric.strip_suffix('*') {
            Some(beginning) => metric.starts_with(beginning),
            None => metric == self.metric,
        };
        named && self.matches.iter().all(|(name, value)| label(name) == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::of_texts(&[
            "id: DCA_Scanner\nowner: o\nsensors:\n  - name: latency_seconds\n  - name: up\n",
            "id: prometheus\nowner: o\nsensors:\n  - name: up\n",
        ])
    }

    fn mapping(text: &str) -> Mapping {
        let mapping: Mapping = toml::from_str(text).unwrap();
        mapping.check().unwrap();
        mapping
    }

    fn target(mapping: &Mapping, metric: &str, labels: &Labels<'_>) -> Option<(String, String)> {
        let target = mapping.target(metric, labels, &catalog())?;
        Some((target.service.to_string(), target.sensor))
    }

    fn to(service: &str, sensor: &str) -> Option<(String, String)> {
        Some((service.to_owned(), sensor.to_owned()))
    }

    #[test]
    fn without_a_rule_the_first_label_that_names_a_registered_service_does() {
        let plain = Mapping::default();
        assert_eq!(target(&plain, "up", &[("job", "prometheus")]), to("prometheus", "up"));
        let both = [("job", "prometheus"), ("service", "DCA_Scanner")];
        assert_eq!(target(&plain, "up", &both), to("DCA_Scanner", "up"));
        let other = [("job", "prometheus"), ("service", "kube-dns")];
        assert_eq!(target(&plain, "up", &other), to("prometheus", "up"));
        assert_eq!(target(&plain, "up", &[("job", "nobody")]), None);
        assert_eq!(target(&plain, "down", &[("job", "prometheus")]), None, "not declared");
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let mapping = mapping(
            "[[map]]\nmetric = \"http_*\"\nmatch = { env = \"prod\" }\nservice_label = \"app\"\nsensor = \"latency_seconds\"\n\
             take = \"rate\"\nattributes = [\"pod\"]\n[[map]]\nmetric = \"http_*\"\nservice = \"prometheus\"\n\
             sensor = \"up\"\n",
        );
        let prod = [("env", "prod"), ("app", "DCA_Scanner"), ("pod", "p-1"), ("instance", "i")];
        let first = mapping.target("http_seconds", &prod, &catalog()).unwrap();
        assert_eq!((first.service.as_str(), first.take), ("DCA_Scanner", Take::Rate));
        assert_eq!(first.attributes, [("pod".to_owned(), "p-1".to_owned())].into());
        assert_eq!(target(&mapping, "http_seconds", &[("env", "test")]), to("prometheus", "up"));
        // A rule that matches and leads nowhere is not passed over.
        assert_eq!(target(&mapping, "http_seconds", &[("env", "prod"), ("job", "prometheus")]), None);
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused() {
        for (text, said) in [
            ("metric = \"a\"\nservice = \"a\"\nservice_label = \"b\"", "service or service_label"),
            ("metric = \"a\"\nservice = \"a b\"", "no id"),
            ("metric = \"a\"\nsensor = \"a-b\"", "no name of a sensor"),
            ("metric = \"a*b*\"", "its beginning"),
            ("metric = \"\"", "its beginning"),
        ] {
            let mapping: Mapping = toml::from_str(&format!("[[map]]\n{text}\n")).unwrap();
            assert!(mapping.check().unwrap_err().contains(said), "{text}");
        }
        assert!(toml::from_str::<Mapping>("[[map]]\nmetric = \"a\"\nsensors = \"b\"").is_err());
    }
}
