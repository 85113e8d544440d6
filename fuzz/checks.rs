//! What must hold for any bytes. A fuzz target calls one of these with what it makes up; the tests of the crate call
//! them with the seeds and with everything that ever failed, so that no nightly compiler is needed to keep it mended.

use hms_ops::codec::reading::{MAX_VALUE_LENGTH, decode, encode};
use hms_ops::codec::{action, incident, rejected, service, state};
use hms_ops::model::network::Networks;
use hms_ops::model::reading::Reading;
use hms_ops::model::state::Rollup;
use hms_ops::spec::{self, Finding, Severity, diagnose, explain};

const APPENDED: i64 = 1_700_000_000_000;

/// `length of the key, key, value` as a record of `ops.metrics`: whatever is taken
/// comes back from its own bytes, bit by bit.
pub fn reading(data: &[u8]) {
    let Some((&key_length, rest)) = data.split_first() else { return };
    let (key, value) = rest.split_at(rest.len().min(key_length.into()));
    assert!(decode(Some(key), None, APPENDED).is_err(), "no value is no reading");
    let Ok(reading) = decode(Some(key), Some(value), APPENDED) else { return };
    assert!(reading.is_named_well(), "{reading:?}");
    let bytes = encode(&reading);
    // A service that stands in the key alone can make the other form longer than the largest value.
    if bytes.len() <= MAX_VALUE_LENGTH {
        let again = decode(None, Some(&bytes), 1).expect("our own bytes are read");
        assert_eq!(by_bits(&again), by_bits(&reading));
        assert_eq!(encode(&again), bytes);
    }
}

/// NaN is not equal to itself.
fn by_bits<'a>(reading: &Reading<'a>) -> (Reading<'a>, u64) {
    (Reading { value: 0.0, ..reading.clone() }, reading.value.to_bits())
}

/// Text as a `*.ops.yaml`: what is taken can be told in plain words and read again, what is refused has a place.
pub fn spec(data: &[u8]) {
    let findings = match spec::lint_bytes(data, &Networks::default()) {
        Ok(checked) => {
            assert!(!explain::explain(&checked.spec).is_empty());
            assert_eq!(checked.spec.text.as_bytes(), data, "the text is kept as it was registered");
            assert_eq!(spec::parse(&checked.spec.text).as_ref(), Ok(&checked), "the same text is the same spec");
            assert!(checked.warnings.iter().all(|finding| finding.severity == Severity::Warning));
            checked.warnings
        }
        Err(findings) => {
            assert!(findings.0.iter().any(|finding| finding.severity == Severity::Error), "refused without an error");
            findings.0
        }
    };
    let text = String::from_utf8_lossy(data);
    for finding in &findings {
        assert_is_within(&text, finding);
        let shown = diagnose::render("f", &text, finding, false);
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    }
}

/// The place of a finding is a character of the text, or the end of a line.
fn assert_is_within(text: &str, finding: &Finding) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']);
    let line = finding.line.checked_sub(1).and_then(|number| lines.nth(number));
    let length = line.unwrap_or_else(|| panic!("no such line: {finding:?}")).chars().count();
    assert!((1..=length + 1).contains(&finding.column), "no such column: {finding:?}");
}

/// `condition NUL action` as a step of a spec that is good otherwise.
pub fn playbook(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (condition, action) = text.split_once('\0').unwrap_or((text, "page ops"));
    // JSON's strings are YAML's, so any text stands in the file as one scalar.
    let quoted = |text: &str| serde_json::to_string(text).expect("text is JSON");
    let text = format!(
        "id: svc\nowner: fuzz\nsensors:\n  - {{name: q, interval: 0.5}}\n  - {{name: error_rate, unit: ratio}}\n  \
         - {{name: cost_hourly, unit: usd_per_hour}}\n  - {{name: wait, unit: seconds}}\nevents: [login]\n\
         slo: {{target: q, threshold: 30, window_seconds: 10}}\nplaybook:\n  - if: {}\n    then: {}\n",
        quoted(condition),
        quoted(action)
    );
    spec(text.as_bytes());
}

/// A value of one of our own topics: what is read is written and read to the same bytes.
pub fn records(data: &[u8]) {
    comes_back(data, |bytes| incident::decode(bytes).ok(), incident::encode);
    comes_back(data, |bytes| action::decode(bytes).ok(), action::encode);
    comes_back(data, |bytes| service::decode(bytes).ok(), service::encode);
    comes_back(data, |bytes| rejected::decode(bytes).ok(), rejected::encode);
    let encode_rollup = |rollup: &Rollup| {
        let mut value = Vec::new();
        state::encode_rollup(rollup, &mut value);
        value
    };
    comes_back(data, |bytes| state::decode_rollup(bytes).ok(), encode_rollup);
    comes_back(
        data,
        |bytes| state::decode_state(bytes).ok(),
        |record| match record {
            state::StateRecord::Service(record) => state::encode_service(record),
            state::StateRecord::Partition(record) => state::encode_partition(record),
        },
    );
}

/// By bytes, as NaN is not equal to itself.
fn comes_back<T>(data: &[u8], decode: impl Fn(&[u8]) -> Option<T>, encode: impl Fn(&T) -> Vec<u8>) {
    let Some(bytes) = decode(data).map(|record| encode(&record)) else { return };
    let again = decode(&bytes).expect("our own bytes are read");
    assert_eq!(encode(&again), bytes);
}
