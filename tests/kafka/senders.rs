//! Senders that nobody here wrote: Debian's Prometheus scrapes itself and writes it to the receivers, OpenTelemetry's SDK
//! exports to them. Every sample is there, and nothing else. Run by `tests/foreign/senders`, which fetches them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::receive::Collector;
use crate::receive::http::request;
use crate::rig::cluster::PATIENCE;

/// What is compared ends so long before now: what was scraped by then has been written, or is missing.
const SETTLED_S: f64 = 5.0;
/// So many scrapes are compared.
const SCRAPES: u64 = 15;

/// Where `tests/foreign/senders` has put them.
fn fetched() -> PathBuf {
    PathBuf::from(std::env::var_os("OPS_SENDERS").expect("run it by tests/foreign/senders"))
}

/// A sample without its labels: sensor, time (ms), the value's bits.
type Sample = (String, i64, u64);

fn counted(samples: impl Iterator<Item = Sample>) -> BTreeMap<Sample, usize> {
    let mut counted = BTreeMap::new();
    samples.for_each(|sample| *counted.entry(sample).or_default() += 1);
    counted
}

fn compare(sent: &BTreeMap<Sample, usize>, there: &BTreeMap<Sample, usize>) {
    let lacks = |of: &BTreeMap<Sample, usize>, other: &BTreeMap<Sample, usize>| -> Vec<Sample> {
        of.iter().filter(|(sample, count)| other.get(sample) != Some(count)).map(|(sample, _)| sample.clone()).collect()
    };
    let (missing, invented) = (lacks(sent, there), lacks(there, sent));
    let first = |of: &[Sample]| of.iter().take(5).cloned().collect::<Vec<_>>();
    let all: usize = sent.values().sum();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "of {all}: {} missing or more often, {:?}; {} that were not sent, {:?}",
        missing.len(),
        first(&missing),
        invented.len(),
        first(&invented)
    );
    println!("{all} samples were sent, and are there");
}

/// A Prometheus that scrapes itself every second and writes to the receivers; ends with the test.
struct Prometheus {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    fn start(receiver: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: prometheus\n    static_configs:\n      \
             - targets: ['{address}']\nremote_write:\n  - url: http://{receiver}/api/v1/write\n    \
             queue_config: {{batch_send_deadline: 500ms, retry_on_http_429: true}}\n"
        );
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(fetched().join("usr/bin/prometheus"));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { process: command.spawn().unwrap(), address, _directory: directory }
    }

    /// A body, when there is one.
    fn get(&self, path: &str) -> Option<String> {
        let answer = request(&self.address, "GET", path, &[("Accept-Encoding", "identity")], b"")?;
        let chunked = answer.header("transfer-encoding").is_some();
        let body = if chunked { unchunked(&answer.body)? } else { answer.body };
        (answer.status == 200).then(|| String::from_utf8(body).ok())?
    }

    /// A query of its API.
    fn query(&self, query: &str, at: f64) -> Vec<serde_json::Value> {
        let path = format!(
            "/api/v1/query?time={at:.3}&query={}",
            query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22")
        );
        let answer: serde_json::Value = serde_json::from_str(&self.get(&path).expect("no answer")).unwrap();
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// Waits until it answers to `ready`.
    fn wait<T>(&self, what: &str, ready: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ready() {
                return found;
            }
            assert!(Instant::now() < deadline, "{what} never came");
            // It tells of nothing by itself.
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The body of a chunked answer.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 4 + length..)?;
    }
}

#[test]
#[ignore = "needs Debian's prometheus: tests/foreign/senders"]
fn every_sample_of_a_real_prometheus_arrives() {
    let at = Collector::new("prometheus");
    let prometheus = Prometheus::start(&at.address);
    let page = prometheus.wait("its own page", || prometheus.get("/metrics"));
    // All that it has of itself is declared, with what it adds to each scrape.
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let mut names: BTreeSet<&str> = lines.filter_map(|line| line.split(['{', ' ']).next()).collect();
    names.extend([
        "up",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
    ]);
    let sensors: String = names.iter().map(|name| format!("  - name: {name}\n")).collect();
    at.fleet.register(&format!("id: prometheus\nowner: test\nsensors:\n{sensors}"));

    // From the first reading of it on, by the time of its scrape.
    let is_here =
        || at.readings().iter().filter(|reading| reading.service == "prometheus").map(|reading| reading.ts).max();
    let from = prometheus.wait("the first sample", is_here);
    let now = || f64::from(u32::try_from(crate::rig::fleet::now_ms() / 1_000).unwrap());
    let to = prometheus.wait("enough scrapes", || {
        let to = now() - SETTLED_S;
        (to * 1e3 > from as f64 + SCRAPES as f64 * 1e3).then_some(to)
    });
    let range = format!("{{job=\"prometheus\"}}[{}s]", (to - from as f64 / 1e3).floor().max(1.0));
    let begin = ((to - (to - from as f64 / 1e3).floor().max(1.0)) * 1e3) as i64;
    let within = |ts: i64| ts > begin && ts <= (to * 1e3) as i64;
    let mut sent = Vec::new();
    for series in prometheus.query(&range, to) {
        let name = series["metric"]["__name__"].as_str().unwrap();
        for point in series["values"].as_array().unwrap() {
            let ts = (point[0].as_f64().unwrap() * 1e3).round() as i64;
            let value: f64 = point[1].as_str().unwrap().parse().unwrap();
            // Names that came up after the first look are nobody's sensors.
            if names.contains(name) && value.is_finite() && within(ts) {
                sent.push((name.to_owned(), ts, (value + 0.0).to_bits()));
            }
        }
    }
    assert!(sent.len() > 1_000, "{} samples are no proof", sent.len());
    let readings = at.readings();
    let there = readings.iter().filter(|reading| reading.service == "prometheus" && within(reading.ts));
    let there = there.map(|reading| (reading.sensor.to_string(), reading.ts, reading.value.to_bits()));
    compare(&counted(sent.into_iter()), &counted(there));
}

#[test]
#[ignore = "needs OpenTelemetry's Python SDK: tests/foreign/senders"]
fn every_number_of_a_real_opentelemetry_sdk_arrives() {
    let at = Collector::new("opentelemetry");
    at.fleet.register(
        "id: checkout\nowner: test\nsensors:\n  - name: queue_time_seconds\n  - name: bags\n  - name: lanes\n",
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/otlp.py");
    let url = format!("http://{}/v1/metrics", at.address);
    let export = || {
        let output =
            Command::new(fetched().join("otlp/bin/python")).args([script, &url, "checkout", "25"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    // A service that was registered a moment ago may not be known yet: then this export is ignored whole.
    let told = loop {
        let told = export();
        if at.readings().iter().any(|reading| reading.service == "checkout") {
            break told;
        }
    };
    let sent = told.lines().map(|line| {
        let (name, ns, value): (String, i64, f64) = serde_json::from_str(line).unwrap();
        (name.replace('.', "_"), ns / 1_000_000, (value + 0.0).to_bits())
    });
    let sent: Vec<Sample> = sent.collect();
    assert_eq!(sent.len(), 25 * 4 + 2, "each time two of the gauge and one of each sum, at the end the sums once more");
    let readings = at.readings();
    let there = readings.iter().map(|reading| (reading.sensor.to_string(), reading.ts, reading.value.to_bits()));
    compare(&counted(sent.into_iter()), &counted(there));
}
