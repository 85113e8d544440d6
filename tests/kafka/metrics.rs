//! What the services serve about themselves, what the alerts and the dashboard ask for, and what docs/metrics.md says are
//! the same numbers: all of them are started, given a breach to judge, act on and archive, and scraped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::fleet::{Ops, kept_file};
use crate::scrape::{address, families, get, ok, post, samples, until};
use crate::sdk::Installation;

/// A breach after three bad readings, and a page to the pager's console.
const SPEC: &str = "id: Scanner\nowner: TSA\nsensors:\n  - name: queue_time_seconds\nslo:\n  target: queue_time_seconds\n  \
                    threshold: 30\n  window_seconds: 300\n  min_samples: 3\nplaybook:\n  - if: slo_breach\n    then: \
                    page channel=tsa_ops\n";

/// Every service, each with where it serves its numbers.
struct Company {
    services: Vec<(&'static str, Ops, String)>,
    _vault: TempDir,
}

impl Company {
    fn start(at: &Installation) -> Self {
        let vault = TempDir::new().unwrap();
        let here = "127.0.0.1:0";
        let commands: [(&'static str, Vec<&str>); 6] = [
            ("processor", vec!["process", "--metrics", here]),
            // No cluster is there: nothing is scaled here.
            ("autoscaler", vec!["act", "autoscaler", "--server", "http://127.0.0.1:9", "--metrics", here]),
            ("pager", vec!["act", "pager", "--metrics", here]),
            ("archiver", vec!["act", "archiver", "--segment-age-ms", "200", "--metrics", here]),
            ("collector", vec!["collect", "--listen", here, "--metrics", here]),
            ("warroom", vec!["warroom", "--listen", here]),
        ];
        let start = |(name, args): (&'static str, Vec<&str>)| {
            let mut command = at.command(&args);
            let group = format!("{}{name}", at.prefix);
            let groups = ["PROCESSOR", "AUTOSCALER", "PAGER", "ARCHIVER", "COLLECTOR"];
            command.envs(groups.map(|of| (format!("OPS_{of}_GROUP"), group.clone())));
            command.env("OPS_VAULT", vault.path());
            (name, Ops::spawn(command, kept_file(&format!("{}{name}.log", at.prefix))))
        };
        // All of them before the first is waited for.
        let running: Vec<_> = commands.into_iter().map(start).collect();
        let services = running.into_iter().map(|(name, ops)| {
            let served = address(&ops, if name == "warroom" { "\n" } else { "/metrics" });
            until(
                || (get(&served, "/readyz").0 == ok()).then_some(()),
                || format!("{name} is not ready\n{}", ops.said()),
            );
            (name, ops, served)
        });
        Self { services: services.collect(), _vault: vault }
    }

    fn text(&self, of: &str) -> String {
        let (_, _, served) = self.services.iter().find(|(name, ..)| *name == of).unwrap();
        let (status, text) = get(served, "/metrics");
        assert_eq!(status, ok(), "{of}");
        text
    }

    fn samples(&self, of: &str) -> BTreeMap<String, f64> {
        samples(&self.text(of))
    }

    /// Waits until a sample of a service is above a bound.
    fn wait_for(&self, of: &str, sample: &str, above: f64) {
        let there = || self.samples(of).get(sample).is_some_and(|value| *value > above).then_some(());
        until(there, || format!("{of} does not serve {sample} above {above}:\n{}", self.text(of)));
    }
}

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every expression of the alerts and of the dashboard.
fn expressions() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("expr").map(|text| text.as_str().unwrap().to_owned()));
                fields.values().for_each(|value| collect(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(&serde_yaml::from_str(&file("deploy/prometheus/rules.yaml")).unwrap(), &mut found);
    let alerts = found.len();
    collect(&serde_json::from_str(&file("deploy/grafana/hms-ops.json")).unwrap(), &mut found);
    assert!(alerts > 10 && found.len() > alerts + 20, "{alerts} of {}", found.len());
    found
}

/// The metrics that an expression asks for: names outside of strings, matchers, ranges and lists of labels, which are
/// neither functions nor words of the language.
fn names(expression: &str) -> BTreeSet<String> {
    const WORDS: [&str; 14] = [
        "and",
        "or",
        "unless",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "bool",
        "offset",
        "inf",
        "nan",
        "atan2",
    ];
    const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | ':');
    let mut found = BTreeSet::new();
    let mut rest = expression;
    // The list that follows `by` and the like holds labels.
    let mut before_list = false;
    while let Some(first) = rest.chars().next() {
        let closing = match first {
            '{' => Some('}'),
            '[' => Some(']'),
            '"' | '\'' => Some(first),
            '(' if before_list => Some(')'),
            _ => None,
        };
        if let Some(closing) = closing {
            let inside = &rest[1..];
            rest = &inside[inside.find(closing).expect("it is closed") + 1..];
            before_list = false;
        } else if is_name(first) {
            let (word, behind) = rest.split_at(rest.find(|char| !is_name(char)).unwrap_or(rest.len()));
            before_list = LISTS.contains(&word);
            let behind_it = behind.trim_start();
            let groups = |list: &&str| behind_it.strip_prefix(*list).is_some_and(|rest| !rest.starts_with(is_name));
            let calls = behind_it.starts_with('(') || ["by", "without"].iter().any(groups);
            if !first.is_ascii_digit() && !calls && !WORDS.contains(&word) {
                found.insert(word.to_owned());
            }
            rest = behind;
        } else {
            before_list &= first.is_whitespace();
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// What is asked for and served by nobody. `up` is Prometheus's own.
fn unserved(expressions: &[String], served: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let is_served = |name: &String| name == "up" || served.values().any(|parts| parts.contains(name));
    expressions.iter().flat_map(|text| names(text)).filter(|name| !is_served(name)).collect()
}

/// The names in the first column of the tables of docs/metrics.md.
fn documented() -> BTreeSet<String> {
    let text = file("docs/metrics.md");
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `ops_"));
    cells.map(|rest| format!("ops_{}", rest.split(['`', '{']).next().unwrap())).collect()
}

#[test]
fn names_are_found_in_whatever_an_expression_is_made_of() {
    let found = names(
        "histogram_quantile(0.99, sum by (le, ops_label) (rate(ops_a_bucket{job=~\"ops_b\", x='ops_c'}[5m]))) > 1e3 and \
         on (topic) ops_d:sum offset 5m or time() - ops_e / 1000 unless ignoring(y) (ops_f)",
    );
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["ops_a_bucket", "ops_d:sum", "ops_e", "ops_f"]);
}

/// A breach goes all the way, and every service tells its part of it.
#[test]
fn what_is_asked_for_is_served_and_what_is_served_is_documented() {
    let at = Installation::new();
    let company = Company::start(&at);
    let registered = at.register_text(SPEC, &[]);
    assert_eq!(registered.code, Some(0), "{}", registered.err);
    let rows = "{\"value\":31.5}\n".repeat(10);
    let emitted = at.ops_with(&["emit", "--stdin", "--service", "Scanner", "--sensor", "queue_time_seconds"], &rows);
    assert_eq!(emitted.code, Some(0), "{}", emitted.err);

    let (_, collector, _) = company.services.iter().find(|(name, ..)| *name == "collector").unwrap();
    let reading = "{\"service\":\"Scanner\",\"sensor\":\"queue_time_seconds\",\"value\":31.5}";
    let answer = post(&address(collector, "\n"), "/api/v1/emit", reading).0;
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");

    let page = "{actor=\"pager\",verb=\"page\"";
    company.wait_for("pager", &format!("ops_actor_actions_total{page},outcome=\"done\"}}"), 0.0);
    company.wait_for("pager", &format!("ops_actor_answer_seconds_count{page}}}"), 0.0);
    // Opened and requested.
    company.wait_for("processor", "ops_verdict_delay_seconds_count", 1.0);
    company.wait_for("processor", "ops_counted_total", 9.0);
    for topic in [&at.topics.incidents, &at.topics.actions] {
        company.wait_for("archiver", &format!("ops_archiver_records_total{{topic=\"{topic}\"}}"), 1.0);
    }
    company.wait_for("archiver", "ops_archiver_commit_seconds_count", 0.0);
    company.wait_for("archiver", "ops_archiver_store_seconds_count", 0.0);
    company.wait_for("warroom", "ops_warroom_answers_total{class=\"2xx\"}", 0.0);
    company.wait_for("warroom", "ops_warroom_services_breached", 0.0);
    let pager = company.samples("pager");
    until(
        || (company.samples("pager")["ops_actor_waiting{actor=\"pager\"}"] == 0.0).then_some(()),
        || format!("the page has its outcome: {pager:#?}"),
    );

    let served: BTreeMap<_, _> = company.services.iter().flat_map(|(name, ..)| families(&company.text(name))).collect();
    let mut asked = expressions();
    assert_eq!(unserved(&asked, &served), BTreeSet::new());
    let served_names: BTreeSet<String> = served.keys().cloned().collect();
    assert_eq!(documented(), served_names, "docs/metrics.md");
    // The control.
    asked.push("sum(rate(ops_nobody_total[5m]))".to_owned());
    assert_eq!(unserved(&asked, &served), BTreeSet::from(["ops_nobody_total".to_owned()]));
    company.services.into_iter().for_each(|(_, ops, _)| ops.stop());
}
