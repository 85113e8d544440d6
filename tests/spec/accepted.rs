//! What is accepted, and what it means: the example, every default, units, one cause for what is the same.

use hms_ops::model::ids::SpecHash;
use hms_ops::model::network::Networks;
use hms_ops::model::spec::{Call, Comparison, Condition, Limits, Slo, Step, Take, Trigger, Unit, Workload};
use hms_ops::spec::{self, explain};

use super::{EXAMPLE, GOOD, good, step, warnings, with};

fn call(verb: &str, args: &[(&str, &str)]) -> Call {
    let args = args.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Call { verb: verb.to_owned(), args }
}

/// The calls of a playbook's only step.
fn calls(action: &str) -> Vec<Call> {
    match good(&step("slo_breach", action)).playbook.remove(0) {
        Step::If { calls, .. } => calls,
        Step::Always { .. } => panic!("`always` was not written"),
    }
}

/// The literal of a comparison that is a playbook's only condition.
fn literal(condition: &str) -> f64 {
    match good(&step(condition, "page ops")).causes[1].condition {
        Condition::Comparison { literal, .. } => literal,
        ref other => panic!("{condition} became {other:?}"),
    }
}

#[test]
fn the_example_is_accepted_byte_for_byte() {
    let checked = spec::parse(EXAMPLE).unwrap();
    assert_eq!(checked.warnings, []);
    let spec = checked.spec;
    assert_eq!((spec.id.as_str(), spec.owner.as_str()), ("DCA_Luggage_Scanner", "TSA"));
    assert_eq!((&*spec.text, spec.hash), (EXAMPLE, SpecHash::of(EXAMPLE)));
    assert_eq!(spec.sensors[0].scrape_url.as_deref(), Some("http://scanner.local/metrics"));
    let page = call("page", &[("channel", "tsa_ops"), ("severity", "critical")]);
    assert_eq!(
        spec.playbook,
        [
            Step::If { trigger: Trigger::Opened { cause: 0 }, calls: vec![call("scale_up", &[("compute", "+2")])] },
            Step::If { trigger: Trigger::StillBreachAfter { after_ms: 60_000 }, calls: vec![page] },
            Step::Always { log_to: "HMS-DTA".to_owned() },
        ]
    );
    assert_eq!((spec.causes.len(), &*spec.causes[0].text), (1, "slo"));
}

#[test]
fn every_default_is_filled_in() {
    let spec = good(EXAMPLE);
    let slo = Slo { target: 0, threshold: 30.0, recover_threshold: 27.0, objective_ppm: 950_000, min_samples: 10 };
    assert_eq!(spec.slo, Some(slo));
    assert_eq!((spec.window_ms, spec.step_ms, spec.lateness_ms), (300_000, 1_000, 1_000));
    assert_eq!((spec.recover_for_ms, spec.flap_limit, spec.flap_window_ms), (60_000, 3, 1_800_000));
    let sensor = &spec.sensors[0];
    assert_eq!((sensor.unit, sensor.interval_ms, sensor.no_data_after_ms), (Unit::Count, 5_000, 60_000));
    let (kind, name) = ("deployment".to_owned(), "dca-luggage-scanner".to_owned());
    assert_eq!(spec.workload, Workload { kind, name, namespace: None, context: None });
    assert_eq!(spec.limits, Limits::default());
}

#[test]
fn a_spec_without_an_slo_has_the_same_times() {
    let spec = good("id: a\nowner: b\n");
    assert_eq!((spec.window_ms, spec.step_ms, spec.lateness_ms), (300_000, 1_000, 1_000));
    assert_eq!((spec.recover_for_ms, spec.flap_limit, spec.flap_window_ms), (60_000, 3, 1_800_000));
    assert_eq!((spec.slo, spec.causes.len(), spec.playbook.len()), (None, 0, 0));
}

#[test]
fn no_data_after_follows_the_interval_and_the_slo_wins() {
    let spec = good(&with("  - {name: q, interval: 0.5}", "  - {name: q, interval: 1 min}"));
    assert_eq!(spec.sensors[0].no_data_after_ms, 180_000);
    let spec = good(&with("  threshold: 30\n", "  threshold: 30\n  no_data_after_seconds: 2.5\n"));
    assert_eq!(spec.sensors[0].no_data_after_ms, 2_500);
    assert_eq!(spec.sensors[1].no_data_after_ms, 60_000);
    let event = spec.sensors.last().unwrap();
    assert!(event.is_event);
    assert_eq!((&*event.name, event.interval_ms, event.no_data_after_ms), ("unauthorized_login", 5_000, 60_000));
}

#[test]
fn the_recovery_threshold_is_computed_in_binary64() {
    for threshold in ["0.3", "-5", "0", "1e-3", "12345.678"] {
        let value: f64 = threshold.parse().unwrap();
        let slo = good(&with("  threshold: 30\n", &format!("  threshold: {threshold}\n"))).slo.unwrap();
        assert_eq!(slo.recover_threshold.to_bits(), (value - 0.1 * value.abs()).to_bits(), "{threshold}");
    }
}

#[test]
fn the_objective_is_exact() {
    for (text, ppm) in [("0.9", 900_000), ("0.999999", 999_999), ("0.29", 290_000), ("0.000001", 1)] {
        let slo = good(&with("  threshold: 30\n", &format!("  threshold: 30\n  objective: {text}\n"))).slo.unwrap();
        assert_eq!(slo.objective_ppm, ppm);
    }
}

#[test]
fn literals_are_in_the_sensors_unit() {
    assert_eq!(literal("error_rate > 2 %"), 0.02);
    assert_eq!(literal("error_rate >= 12.3456%"), 0.123456);
    assert_eq!(literal("error_rate > 0.02"), 0.02);
    assert_eq!(literal("load > 2 %"), 2.0);
    assert_eq!(literal("cost_hourly > $500"), 500.0);
    assert_eq!(literal("cost_hourly>$0.1"), 0.1);
    assert_eq!(literal("wait > 5 min for 3 s"), 300.0);
    assert_eq!(literal("wait <= 500ms"), 0.5);
    assert_eq!(literal("q < -0.5"), -0.5);
    assert_eq!(literal("q >= -0").to_bits(), 0);
}

#[test]
fn conditions_that_are_the_same_are_one_cause_with_the_first_text() {
    let playbook = "playbook:
  - {if: error_rate > 2 % for 5 min, then: page a}
  - {if: slo_breach, then: page b}
  - {if: '  error_rate>0.02  for 300 ', then: page c}
  - {if: error_rate > 2 %, then: page d}
  - {if: no_data, then: page e}
  - {if: no_data for 0, then: page f}
  - {if: unauthorized_login, then: page g}
  - {if: error_rate >= 2 %, then: page h}
  - {if: recovered, then: page i}
";
    let spec = good(&format!("{}{playbook}", GOOD.split("playbook:").next().unwrap()));
    let texts: Vec<&str> = spec.causes.iter().map(|cause| &*cause.text).collect();
    let expected =
        ["slo", "error_rate > 2 % for 5 min", "error_rate > 2 %", "no_data", "unauthorized_login", "error_rate >= 2 %"];
    assert_eq!(texts, expected);
    assert_eq!(spec.causes[1].for_ms, 300_000);
    let comparison = Condition::Comparison { sensor: 1, op: Comparison::AtLeast, literal: 0.02 };
    assert_eq!(spec.causes[5].condition, comparison);
    let triggers: Vec<Option<usize>> = spec
        .playbook
        .iter()
        .map(|step| match step {
            Step::If { trigger: Trigger::Opened { cause }, .. } => Some(*cause),
            _ => None,
        })
        .collect();
    assert_eq!(triggers, [1, 0, 1, 2, 3, 3, 4, 5].map(Some).into_iter().chain([None]).collect::<Vec<_>>());
}

#[test]
fn the_slo_is_the_first_cause_with_its_own_for() {
    let spec = good(&with("  threshold: 30\n", "  threshold: 30\n  for: 4\n"));
    assert_eq!((&spec.causes[0].condition, spec.causes[0].for_ms), (&Condition::Slo, 4_000));
}

#[test]
fn still_breach_after_is_rounded_up_to_the_step() {
    let spec = good(&step("still_breach_after 2.1 s", "page ops"));
    let Step::If { trigger, .. } = &spec.playbook[0] else { panic!() };
    assert_eq!(*trigger, Trigger::StillBreachAfter { after_ms: 3_000 });
}

#[test]
fn both_spellings_of_a_call_are_one() {
    let up = [call("scale_up", &[("compute", "+2")])];
    for written in ["scale_up compute=+2", "scale_up compute =+ 2", "scale_up compute = +2", "scale_up compute=2"] {
        assert_eq!(calls(written), up, "{written}");
    }
    assert_eq!(calls("scale_down compute=-3"), calls("scale_down compute=3"));
    assert_eq!(calls("scale compute=4"), [call("scale", &[("compute", "4")])]);
    assert_eq!(calls("page CIGIE"), calls("page channel=CIGIE"));
    assert_eq!(calls("page channel=a, severity=info"), calls("page a severity=info"));
    assert_eq!(calls("throttle traffic 20 %"), calls("throttle traffic by=20.0%"));
    assert_eq!(calls("throttle traffic 20 %"), [call("throttle", &[("by", "20%"), ("object", "traffic")])]);
    let both = calls("isolate pod & page 24x7");
    assert_eq!(both[0], call("isolate", &[("object", "pod")]));
    assert_eq!(both[1], call("page", &[("channel", "24x7"), ("severity", "critical")]));
    assert_eq!(calls("rollback deploy"), [call("rollback", &[("object", "deploy")])]);
}

#[test]
fn always_is_accepted_in_both_forms() {
    let flat = good(&with("playbook:\n", "playbook:\n  - always:\n    log_to: HMS-DTA\n"));
    let nested = good(&with("playbook:\n", "playbook:\n  - always:\n      log_to: HMS-DTA\n"));
    assert_eq!(flat.playbook[0], Step::Always { log_to: "HMS-DTA".to_owned() });
    assert_eq!(flat.playbook, nested.playbook);
}

#[test]
fn a_workload_is_a_reference_or_a_map() {
    let expected = Workload { kind: "statefulset".to_owned(), name: "x".to_owned(), namespace: None, context: None };
    assert_eq!(good(&format!("{GOOD}workload: statefulset/x\n")).workload, expected);
    assert_eq!(good(&format!("{GOOD}workload: {{kind: StatefulSet, name: x}}\n")).workload, expected);
    let spec = good(&format!("{GOOD}workload: {{name: rollouts.argoproj.io/v1alpha1/x, namespace: a, context: c}}\n"));
    assert_eq!(spec.workload.kind, "rollouts.argoproj.io/v1alpha1");
    assert_eq!(spec.workload.namespace.as_deref(), Some("a"));
    assert_eq!(spec.workload.context.as_deref(), Some("c"));
    let limits = good(&format!("{GOOD}limits: {{min: 2, max: 20}}\n")).limits;
    assert_eq!(limits, Limits { min: Some(2), max: Some(20), max_step: None });
}

#[test]
fn a_dry_run_is_a_yes_or_a_no_and_explained() {
    assert!(!good(GOOD).dry_run && !good(&format!("{GOOD}dry_run: false\n")).dry_run);
    let spec = good(&format!("{GOOD}dry_run: true\n"));
    assert!(spec.dry_run && explain::explain(&spec).contains("Dry run: actors say what they would do"));
}

#[test]
fn a_byte_order_mark_and_crlf_are_accepted() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    let checked = spec::lint_bytes(text.as_bytes(), &Networks::default()).unwrap();
    assert_eq!((&*checked.spec.text, checked.spec.hash), (text.as_str(), SpecHash::of(&text)));
    assert_eq!(checked.spec.causes, good(GOOD).causes);
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    assert_eq!(warnings(GOOD), [] as [&str; 0]);
    let few = warnings(&with("{name: q, interval: 0.5}", "{name: q}"));
    assert!(few[0].contains("`insufficient`"), "{few:?}");
    let pauses = warnings(&with("{name: load, unit: percent}", "{name: load, no_data_after: 1}"));
    assert_eq!(pauses, ["no data after 1 s, but a reading comes only every 5 s"]);
    let silent = warnings(&step("slo_breach", "scale_up compute=+2"));
    assert_eq!(silent, ["no step of the playbook pages anybody"]);
}

#[test]
fn explain_says_what_happens_and_what_was_assumed() {
    let told = explain::explain(&good(EXAMPLE));
    for part in [
        "the 95 % nearest-rank percentile is above 30",
        "at or below 27",
        "add 2 replicas to deployment dca-luggage-scanner",
        "page channel tsa_ops (critical)",
        "at least 1 (assumed",
        "in one action at most 4 (assumed",
    ] {
        assert!(told.contains(part), "{part:?} is missing in\n{told}");
    }
    let told = explain::explain(&good(&format!("{GOOD}limits: {{min: 2, max: 20, max_step: 3}}\n")));
    assert!(!told.contains("assumed"), "{told}");
}

#[test]
fn how_a_page_is_read_has_defaults_and_is_explained() {
    let sensor = |fields: &str| {
        let spec = good(&with("{name: q, interval: 0.5}", &format!("{{name: q, scrape_url: 'http://h/m'{fields}}}")));
        (explain::explain(&spec).lines().nth(3).unwrap().to_owned(), spec.sensors[0].clone())
    };
    let (told, plain) = sensor("");
    assert_eq!((&*plain.metric, plain.take, plain.matches), ("q", Take::Value, vec![]));
    assert!(told.contains("scraped from http://h/m"), "{told}");
    let (told, rate) = sensor(", metric: http_requests_total, match: {code: '500'}, take: rate");
    assert_eq!((&*rate.metric, rate.take), ("http_requests_total", Take::Rate));
    assert!(told.contains("as the rate a second of http_requests_total{code=\"500\"} from"), "{told}");
    let (told, quantile) = sensor(", metric: latency_seconds, take: p99.9");
    assert_eq!(quantile.take, Take::Quantile { ppm: 999_000 });
    assert!(told.contains("as the 99.9 % quantile of latency_seconds from"), "{told}");
}

#[test]
fn what_says_how_to_scrape_and_scrapes_nothing_is_a_warning() {
    let found = warnings(&with("{name: q, interval: 0.5}", "{name: q, interval: 0.5, take: rate}"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("`take` says how a page is read"), "{found:?}");
    let found = warnings(&with("{name: q, interval: 0.5}", "{name: q, interval: 0.5, scrape_url: 'http://h/'}"));
    assert!(found.len() == 1 && found[0].contains("once a second at most"), "{found:?}");
}

#[test]
fn every_example_is_a_spec() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap();
    let specs = files.map(|file| file.unwrap().path()).filter(|path| path.to_str().unwrap().ends_with(".ops.yaml"));
    let checked = specs.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        spec::parse(&text).unwrap_or_else(|findings| panic!("{}: {findings}", path.display()))
    });
    assert!(checked.count() >= 3, "the examples were not found");
}
