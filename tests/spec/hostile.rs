//! Hostile and broken texts: each is an error with line and column, none is a panic, a hang or a leak.

use hms_ops::model::network::Networks;
use hms_ops::spec::{self, diagnose};

use super::{GOOD, checked_errors, error, errors, step, with};

#[test]
fn unknown_keys_are_errors_with_a_suggestion() {
    for (text, near) in [
        (with("  threshold: 30\n", "  treshold: 30\n  threshold: 30\n"), "threshold"),
        (with("owner: tests\n", "owner: tests\nplayboook: []\n"), "playbook"),
        (with("{name: q, interval: 0.5}", "{name: q, intervall: 0.5}"), "interval"),
        (with("  window_seconds: 10\n", "  window: 10\n"), "window_seconds"),
        (with("    then: page channel=ops\n", "    then: page channel=ops\n    than: x\n"), "then"),
        (format!("{GOOD}limits: {{mni: 1}}\n"), "min"),
        (format!("{GOOD}workload: {{namespac: a}}\n"), "namespace"),
    ] {
        let error = error(&text);
        assert!(error.message.starts_with("unknown key"), "{error:?}");
        assert_eq!(error.help, Some(format!("did you mean `{near}`?")));
    }
}

#[test]
fn a_dry_run_that_is_neither_yes_nor_no_is_an_error() {
    for value in ["yes", "1", "True", "[true]", ""] {
        assert!(error(&format!("{GOOD}dry_run: {value}\n")).message.contains("`dry_run`"), "{value:?}");
    }
}

#[test]
fn doubled_keys_are_errors_at_the_second() {
    let error = error(&with("owner: tests\n", "owner: tests\nowner: others\n"));
    assert_eq!((error.line, error.column), (3, 1));
    assert!(error.message.contains("twice, first on line 2"), "{error:?}");
}

#[test]
fn anchors_aliases_and_tags_are_refused() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n";
    for (text, line, what) in [
        (bomb.to_owned(), 1, "an anchor"),
        (with("owner: tests", "owner: &x tests"), 2, "an anchor"),
        (with("owner: tests", "owner: !!str tests"), 2, "a tag"),
        (with("sensors:\n", "sensors: !x\n"), 3, "a tag"),
    ] {
        let error = error(&text);
        assert_eq!(error.line, line, "{error:?}");
        assert!(error.message.starts_with(what), "{error:?}");
    }
    assert_eq!(errors("a: *x\n").len(), 1);
}

#[test]
fn deep_nesting_is_refused_before_it_costs_anything() {
    let mut staircase: String = (0..340).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    staircase.push_str(&" ".repeat(340));
    let brackets = "[".repeat(60_000);
    for text in [brackets.clone(), "{a: ".repeat(15_000), "- ".repeat(30_000), "? ".repeat(30_000), staircase] {
        let error = error(&text);
        assert_eq!(error.message, "nested deeper than 16");
    }
    // Closed again, and inside the size limit: the depth alone decides.
    let error = error(&format!("id: {}{}", "[".repeat(17), "]".repeat(17)));
    assert_eq!((error.line, error.column), (1, 20), "{error:?}");
    assert_eq!(super::error(&"[".repeat(100_000)).message, "the file is larger than 65536 bytes");
}

#[test]
fn a_text_of_many_mistakes_is_answered_briefly() {
    let keys: String = (0..5_000).map(|i| format!("k{i}: x\n")).collect();
    assert!(error(&keys).message.contains("more than 256 keys"));
    let steps: String = (0..1_000).map(|i| format!("  - {{if: x{i}, then: y}}\n")).collect();
    assert!(errors(&format!("id: a\nowner: b\nplaybook:\n{steps}")).len() <= 100);
}

#[test]
fn what_is_no_document_is_refused() {
    for text in ["", "\u{feff}", "\n\n", "# only a comment\n", "---\n", "---\n...\n", "~\n"] {
        assert_eq!(error(text).message, "the file is empty", "{text:?}");
    }
    let second = error(&format!("{GOOD}---\n{GOOD}"));
    assert_eq!(second.message, "a second document begins");
    assert_eq!(second.line, GOOD.lines().count() + 1);
    for text in
        ["just text", "- a\n- b\n", "id: a\n\towner: b\n", "id: 'a\n", "a: b: c\n", "[a: ]: b", "id: a\n x\ny: z"]
    {
        errors(text);
    }
    let mut large = GOOD.to_owned();
    large.push_str(&"#".repeat(64 * 1024));
    assert_eq!(error(&large).line, 1);
}

#[test]
fn what_is_not_utf8_is_an_error_at_its_byte() {
    let error = |bytes: &[u8]| match spec::lint_bytes(bytes, &Networks::default()) {
        Ok(_) => panic!("accepted"),
        Err(findings) => checked_errors(findings.0, &String::from_utf8_lossy(bytes)).remove(0),
    };
    let found = error(b"id: a\nowner: \xc3\xa9\xff\n");
    assert_eq!((found.line, found.column), (2, 9));
    assert!(found.message.contains("0xff"));
    assert_eq!(error(b"\xff\xfei\0d\0").line, 1);
    assert_eq!(error(b"").message, "the file is empty");
    assert_eq!(error(&[b'a'; 70_000]).line, 1);
}

#[test]
fn times_out_of_their_bounds_are_refused() {
    for (field, value) in [
        ("window_seconds", "0"),
        ("window_seconds", "-300"),
        ("window_seconds", "36500 d"),
        ("window_seconds", "25 h"),
        ("window_seconds", "2.5"),
        ("window_seconds", "five"),
        ("window_seconds", "1e3"),
        ("window_seconds", "5 M"),
        ("window_seconds", "1 y"),
        ("window_seconds", "99999999999999999999999999999999"),
        ("step", "0.05"),
        ("step", "2 h"),
        ("lateness", "-1"),
        ("lateness", "61 min"),
        ("for", "367 d"),
        ("for", "0.0001"),
        ("recover_for", "-1 s"),
        ("flap_window", "x"),
        ("no_data_after_seconds", "0"),
    ] {
        let text = GOOD.replace("  window_seconds: 10\n", "");
        let text = text.replace("  threshold: 30\n", &format!("  threshold: 30\n  {field}: {value}\n"));
        let errors = errors(&text);
        assert!(errors.iter().any(|error| error.line == 14), "{field}: {value}: {errors:?}");
    }
    let panes = with("  window_seconds: 10\n", "  window_seconds: 24 h\n  step: 0.1\n");
    assert!(error(&panes).message.contains("more than 86400 steps"));
}

#[test]
fn numbers_out_of_their_bounds_are_refused() {
    for (field, value) in [
        ("threshold", ".nan"),
        ("threshold", "NaN"),
        ("threshold", ".inf"),
        ("threshold", "1e400"),
        ("threshold", "30 s"),
        ("threshold", "[30]"),
        ("threshold", ""),
        ("objective", "1.5"),
        ("objective", "1"),
        ("objective", "0"),
        ("objective", "-0.5"),
        ("objective", "0.9999999"),
        ("objective", "95"),
        ("min_samples", "0"),
        ("min_samples", "1.5"),
        ("min_samples", "-3"),
        ("flap_limit", "0"),
        ("recover_threshold", "30.5"),
        ("recover_threshold", ".nan"),
    ] {
        let mut text = with("  threshold: 30\n", &format!("  threshold: 30\n  {field}: {value}\n"));
        if field == "threshold" {
            text = text.replacen("  threshold: 30\n", "", 1);
        }
        let error = error(&text);
        assert_eq!(error.line, if field == "threshold" { 13 } else { 14 }, "{field}: {value}: {error:?}");
    }
    assert!(error(&format!("{GOOD}limits: {{min: 5, max: 4}}\n")).message.contains("`min` 5 is above `max` 4"));
    for limits in ["{max: 0}", "{min: -1}", "{max_step: 0}", "{max: many}", "{max: 1000000000}"] {
        error(&format!("{GOOD}limits: {limits}\n"));
    }
}

#[test]
fn names_are_checked() {
    for (line, replacement) in [
        ("id: svc", "id: _ops"),
        ("id: svc", "id: ../etc"),
        ("id: svc", "id: ''"),
        ("id: svc", "id: \"a\\nb\""),
        ("id: svc\n", ""),
        ("owner: tests\n", ""),
        ("owner: tests", "owner: \"a\\eb\""),
        ("{name: q, interval: 0.5}", "{name: 1q}"),
        ("{name: error_rate, unit: ratio}", "{unit: ratio}"),
        ("{name: error_rate, unit: ratio}", "{name: q}"),
        ("{name: error_rate, unit: ratio}", "{name: error_rate, unit: ratoi}"),
        ("{name: error_rate, unit: ratio}", "{name: no_data}"),
        ("  - unauthorized_login", "  - q"),
        ("  - unauthorized_login", "  - slo"),
        ("  target: q", "  target: unauthorized_login"),
        ("  target: q", "  target: qq"),
    ] {
        let found = errors(&with(line, replacement));
        assert!(found.iter().all(|error| error.severity == spec::Severity::Error), "{found:?}");
    }
    for workload in ["pod/x", "deployment/X_y", "deployment/", "x/y/z", "{name: x, namespace: a.b}", "[a]"] {
        error(&format!("{GOOD}workload: {workload}\n"));
    }
}

#[test]
fn conditions_that_mean_nothing_are_refused() {
    for condition in [
        "slo_breech",
        "slo_breach for 5",
        "q",
        "q > ",
        "q > x",
        "q > 5 for",
        "q > 5 y",
        "q = 5",
        "z > 5",
        "q > 2 %",
        "q > 5 min",
        "q > $5",
        "wait > 5 M",
        "error_rate > 2.00001 %",
        "error_rate > -2 %",
        "cost_hourly > $1.0000001",
        "cost_hourly > $5k",
        "unauthorized_login > 1",
        "still_breach_after",
        "still_breach_after 1",
        "still_breach_after 1e9",
        "no_data for 5 M",
        "recovered for 5",
        "unauthorized_login for 5",
    ] {
        let error = error(&step(condition, "page a"));
        assert_eq!(error.line, 16, "{condition}: {error:?}");
        assert!((9..9 + condition.len() + 1).contains(&error.column), "{condition}: {error:?}");
    }
}

#[test]
fn actions_that_mean_nothing_are_refused() {
    for action in [
        "reboot",
        "page",
        "page <!channel>",
        "page channel=<!channel>",
        "\"page channel=a\\nb\"",
        "\"page channel=a\\u202eb\"",
        "page channel=+a",
        "page channel=a channel=b",
        "page a channel=b",
        "page a severity=loud",
        "page a,",
        "page a &",
        "page a && page b",
        "page a; page b",
        "page .a",
        "page chanel=a",
        "scale_up",
        "scale_up compute=0",
        "scale_up compute=1001",
        "scale_up compute=2.5",
        "scale_up compute=-2",
        "scale_up compute=+-2",
        "scale_up x compute=2",
        "scale_down compute=+2",
        "scale compute=+2",
        "scale compute=20%",
        "throttle 20 %",
        "throttle traffic",
        "throttle traffic 20",
        "throttle traffic 0 %",
        "throttle traffic 101 %",
        "throttle traffic 20 % by=30%",
        "rollback",
        "rollback database",
        "isolate pod now=1",
        "$(reboot)",
    ] {
        let error = error(&step("slo_breach", action));
        assert_eq!(error.line, 17, "{action}: {error:?}");
        assert!((11..11 + action.len() + 1).contains(&error.column), "{action}: {error:?}");
    }
}

#[test]
fn steps_of_another_form_are_refused() {
    for steps in [
        "- x",
        "- {}",
        "- {if: slo_breach}",
        "- {then: page a}",
        "- {always: , log_to: elsewhere}",
        "x",
        "- {always: {log_to: HMS-DTA}, log_to: HMS-DTA}",
        "- {log_to: HMS-DTA}",
        "- {always: }",
        "- {if: slo_breach, then: page a, always: , log_to: HMS-DTA}",
        "- {if: [slo_breach], then: page a}",
    ] {
        error(&format!("{}playbook:\n  {steps}\n", GOOD.split("playbook:").next().unwrap()));
    }
}

#[test]
fn what_belongs_to_an_slo_needs_one() {
    for condition in ["slo_breach", "recovered", "still_breach_after 60", "no_data", "no_data for 5"] {
        let text = format!("id: a\nowner: b\nplaybook:\n  - if: {condition}\n    then: page a\n");
        let error = error(&text);
        assert!(error.message.contains("needs an `slo:`"), "{error:?}");
        assert_eq!((error.line, error.column), (4, 9));
    }
}

#[test]
fn scrape_urls_that_lead_inside_are_refused() {
    for url in [
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:127.0.0.1]/",
        "http://::ffff:127.0.0.1/",
        "http://127.0.0.1:9090/metrics",
        "http://10.1.2.3/",
        "http://user@host/",
        "http://0x7f000001/",
        "javascript:alert(1)",
    ] {
        let error = error(&with("{name: q, interval: 0.5}", &format!("{{name: q, scrape_url: '{url}'}}")));
        assert!(error.message.starts_with("`scrape_url`"), "{error:?}");
        assert_eq!(error.line, 4);
    }
}

#[test]
fn how_a_page_is_read_is_checked_with_its_place() {
    for (fields, message, column) in [
        ("metric: 1up", "`1up` cannot be the `metric`", 48),
        ("metric: [a]", "`metric` must be one value", 48),
        ("take: avg", "`take`: unknown: `avg`", 46),
        ("take: p100", "`take`: a quantile lies between 0 and 1", 47),
        ("take: quantile 1.5", "`take`: a quantile lies between 0 and 1", 55),
        ("takes: rate", "unknown key `takes`", 40),
        ("match: [a]", "`match` must be a map", 47),
        ("match: {'a b': c}", "`a b` cannot name a label", 48),
        ("match: {a: ''}", "`a` has no value", 51),
    ] {
        let text = with("{name: q, interval: 0.5}", &format!("{{name: q, scrape_url: 'http://h/', {fields}}}"));
        let error = error(&text);
        assert!(error.message.starts_with(message), "{error:?}");
        assert_eq!((error.line, error.column), (4, column), "{error:?}");
    }
}

/// What is in force must not hang on the configuration of the host that reads it.
#[test]
fn an_address_inside_refuses_a_spec_only_where_specs_are_taken_in_and_it_is_not_allowed() {
    let text = with("{name: q, interval: 0.5}", "{name: q, scrape_url: 'http://127.0.0.1:9100/metrics'}");
    assert!(spec::parse(&text).is_ok());
    let allow = |entry: &str| Networks::from_iter([entry.parse().unwrap()]);
    assert!(spec::lint(&text, &allow("127.0.0.1/32:9100")).is_ok());
    let error = spec::lint(&text, &allow("127.0.0.1/32:9101")).unwrap_err().0.remove(0);
    assert_eq!((error.line, error.column), (4, 35), "{error:?}");
    assert!(error.help.unwrap().contains("[collect] allow"));
}

#[test]
fn a_credential_is_refused_and_never_repeated() {
    const SECRET: &str = "hunter2hunter2hunter2";
    for text in [
        format!("{GOOD}password: {SECRET}\n"),
        format!("{GOOD}slack_token: {SECRET}\n"),
        with("{name: q, interval: 0.5}", &format!("{{name: q, match: {{api_key: {SECRET}}}}}")),
        with("{name: q, interval: 0.5}", &format!("{{name: q, scrape_url: 'http://u:{SECRET}@h/'}}")),
        with("{name: q, interval: 0.5}", &format!("{{name: q, scrape_url: 'http://h/?token={SECRET}'}}")),
        with("owner: tests", &format!("owner: xoxb-{SECRET}")),
        with("owner: tests", &format!("owner: AKIA{SECRET}")),
        with("owner: tests", &format!("owner: '-----BEGIN KEY----- {SECRET}'")),
        with("owner: tests", &format!("owner: tests # ghp_{SECRET}")),
        step("slo_breach", &format!("page ops token={SECRET}")),
        format!("{GOOD}# {}\n", "ghp_aaaabbbbcccc ".repeat(100).replace('a', "hunter2")),
    ] {
        let found = errors(&text);
        for finding in &found {
            let shown = diagnose::render("a.ops.yaml", &text, finding, false);
            assert!(!format!("{finding:?}{shown}").contains("hunter2"), "{shown}");
        }
        assert!(found[0].message.contains("credential"), "{found:?}");
    }
}
