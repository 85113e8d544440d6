//! The oracle itself: it must agree with the worked examples before it may judge the production core.

#[path = "oracle/mod.rs"]
mod oracle;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use oracle::json::{Vector, counts_to_json, first_difference, load, same};

fn in_tests(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

fn vectors() -> Vec<Vector> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(in_tests("vectors")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 38, "only {} vectors were found", files.len());
    files.iter().map(|file| load(&fs::read_to_string(file).unwrap())).collect()
}

#[test]
fn oracle_agrees_with_every_vector() {
    let mut disagreements = Vec::new();
    for vector in vectors() {
        let outcome = oracle::run(&vector.log);
        if let Some(difference) = first_difference(&vector.expect, &outcome.events()) {
            disagreements.push(format!("{}: {difference}", vector.name));
        }
        let counts = counts_to_json(&outcome.counts);
        if !same(&vector.counts, &counts) {
            disagreements.push(format!("{}: counts {} expected, {counts} found", vector.name, vector.counts));
        }
    }
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

/// Opened and resolved incidents of a recorded series, with the time in UTC and the cause.
fn story(outcome: &oracle::Outcome) -> Vec<String> {
    let told = outcome.events();
    let incidents = told.iter().filter(|event| !event["cause"].is_null());
    let line = |event: &serde_json::Value| {
        let at = jiff::Timestamp::from_millisecond(event["at"].as_i64().unwrap()).unwrap();
        format!(
            "{} {} {}",
            at.strftime("%m-%d %H:%M"),
            event["event"].as_str().unwrap(),
            event["cause"].as_str().unwrap()
        )
    };
    incidents.map(line).collect()
}

fn recorded(spec: &str, data: &str) -> oracle::Outcome {
    let spec = fs::read_to_string(in_tests(spec)).unwrap();
    let rows = oracle::history::rows(&fs::read_to_string(in_tests(data)).unwrap());
    let outcome = oracle::history::run(&spec, &rows);
    assert_eq!(outcome.counts.counted, rows.len() as u64);
    outcome
}

/// Two weeks of request latency: an hour without data, two readings that stand out, and the failure at the end,
/// escalated after 40 minutes without improvement.
#[test]
fn recorded_latency_tells_of_the_failure() {
    let outcome = recorded("data/ec2.ops.yaml", "data/ec2_request_latency_system_failure.csv");
    let expected = [
        "03-09 02:16 opened no_data",
        "03-09 03:30 resolved no_data",
        "03-18 22:36 opened slo",
        "03-18 22:36 opened request_latency_ms > 60",
        "03-18 23:16 resolved request_latency_ms > 60",
        "03-19 01:41 resolved slo",
        "03-21 03:16 opened slo",
        "03-21 03:36 opened request_latency_ms > 60",
        "03-21 04:01 opened no_data",
    ];
    assert_eq!(story(&outcome), expected);
    let shown: Vec<Option<f64>> = outcome.told.iter().map(|told| told.p95).filter(Option::is_some).collect();
    assert_eq!(
        shown,
        [Some(54.508), Some(47.808), Some(56.571999999999996)],
        "the exact quantiles of the SLO's events"
    );
    let paged = outcome.events().iter().filter(|event| event["step"] == 2).count();
    assert_eq!(paged, 1, "only the failure was escalated");
}

/// Ten weeks of travel times with many readings missing: one bad Saturday, then a week that flaps.
#[test]
fn recorded_travel_times_flap_in_september() {
    let outcome = recorded("data/travel_time.ops.yaml", "data/TravelTime_387.csv");
    let expected = [
        "07-25 11:24 opened slo",
        "07-25 12:59 resolved slo",
        "09-01 08:26 opened slo",
        "09-01 17:26 resolved slo",
        "09-01 23:36 opened slo",
        "09-02 12:22 resolved slo",
        "09-02 17:32 opened slo",
        "09-03 00:02 resolved slo",
        "09-03 09:17 opened slo",
        "09-04 00:46 resolved slo",
        "09-10 23:33 opened travel_time_seconds > 3000 for 20min",
        "09-10 23:48 opened slo",
        "09-11 06:03 resolved travel_time_seconds > 3000 for 20min",
        "09-11 09:03 resolved slo",
        "09-12 02:42 opened slo",
        "09-12 03:02 opened travel_time_seconds > 3000 for 20min",
        "09-12 08:12 resolved travel_time_seconds > 3000 for 20min",
        "09-12 09:53 resolved slo",
        "09-15 11:46 opened slo",
        "09-15 15:06 resolved slo",
    ];
    assert_eq!(story(&outcome), expected);
    let events = outcome.events();
    assert_eq!(events.iter().filter(|event| event["flapping"] == true).count(), 2);
    let ended: Vec<_> = events.iter().filter(|event| event["event"] == "episode_ended").collect();
    assert_eq!((ended.len(), &ended[0]["openings"]), (1, &serde_json::json!(4)));
}

/// What the recorded series rely on: dropping readings out of reach is no change of the definitions.
#[test]
fn forgetting_changes_nothing() {
    for seed in 0..30 {
        let log = oracle::generate::log(seed);
        let mut forgetful = oracle::Oracle::new(0);
        let mut told = Vec::new();
        for entry in &log {
            told.extend(forgetful.step(entry).into_iter().map(|told| told.event));
            forgetful.forget();
        }
        if let Some(difference) = first_difference(&oracle::run(&log).events(), &told) {
            let kept = oracle::json::keep(&format!("seed_{seed}"), &log);
            panic!("seed {seed}, kept in {}: {difference}", kept.display());
        }
    }
}

#[test]
fn a_seed_is_a_log_and_a_log_is_a_vector() {
    for seed in 0..20 {
        let log = oracle::generate::log(seed);
        assert!((1_000..2_200).contains(&log.len()), "seed {seed}: {} entries", log.len());
        // NaN is not equal to itself, so the texts are compared.
        let text = oracle::json::to_json("seed", &log);
        assert_eq!(text, oracle::json::to_json("seed", &oracle::generate::log(seed)), "seed {seed}");
        let read = load(&text);
        assert_eq!(text, oracle::json::to_json("seed", &read.log), "seed {seed}");
    }
}

/// Logs that lead nowhere prove nothing: everything that can happen does, often.
#[test]
fn generated_logs_go_everywhere() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..60 {
        let outcome = oracle::run(&oracle::generate::log(seed));
        for event in outcome.events() {
            let detail = ["basis", "reason"].iter().find_map(|key| event[key].as_str()).unwrap_or_default();
            let name = format!("{} {detail}", event["event"].as_str().unwrap());
            *seen.entry(name.trim_end().to_owned()).or_default() += 1;
            if event["event"] == "opened" {
                let cause = event["cause"].as_str().unwrap().split([' ', '>', '<']).next().unwrap();
                *seen.entry(format!("opened of {cause}")).or_default() += 1;
                *seen.entry(format!("opened, flapping {}", event["flapping"])).or_default() += 1;
            }
        }
        for (reason, count) in outcome.counts.rejected {
            *seen.entry(format!("rejected {reason}")).or_default() += count as usize;
        }
        *seen.entry("late".to_owned()).or_default() += outcome.counts.late as usize;
    }
    let wanted = [
        ("spec_activated", 100),
        ("spec_retired", 10),
        ("blind", 30),
        ("no_data", 100),
        ("data_back", 100),
        ("opened of slo", 150),
        ("opened of error_rate", 30),
        ("opened of cost_hourly", 10),
        ("opened of q", 10),
        ("opened of intrusion", 50),
        ("opened of no_data", 50),
        ("opened, flapping true", 100),
        ("opened, flapping false", 300),
        ("requested opened", 500),
        ("requested resolved", 20),
        ("requested fresh_data", 60),
        ("requested insufficient_fresh_data", 60),
        ("resolved", 300),
        ("closed superseded", 20),
        ("closed unregistered", 10),
        ("episode_ended", 60),
        ("late", 3_000),
        ("rejected bad_name", 10),
        ("rejected value_not_finite", 20),
        ("rejected ts_invalid", 20),
        ("rejected ts_future", 100),
        ("rejected unknown_service", 100),
        ("rejected unknown_sensor", 20),
        ("rejected ts_late", 300),
    ];
    for (name, least) in wanted {
        let count = seen.get(name).copied().unwrap_or(0);
        assert!(count >= least, "{name}: {count} of {least}\n{seen:#?}");
    }
}
