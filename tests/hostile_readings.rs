//! Hostile records of `ops.metrics`: each has the reason that the rules name, and nothing panics.
//!
//! The reasons from `ts_future` on need a spec or a clock and are held elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use hms_ops::codec::ids::Ids;
use hms_ops::codec::reading::{MAX_MOVED_LENGTH, MAX_VALUE_LENGTH, decode, decode_with_any_name, encode, is_movable};
use hms_ops::model::ids::home_partition;
use hms_ops::model::reading::Reading;
use hms_ops::model::reading::RejectReason::{self, *};
use hms_ops::processor::core::{Body, Core, Effects, Elsewhere, Outcome, Record, SpecChange};
use proptest::prelude::*;

const APPENDED: i64 = 1_700_000_000_000;

fn reading() -> Reading<'static> {
    Reading {
        service: "DCA_Luggage_Scanner".into(),
        sensor: "queue_time_seconds".into(),
        ts: 1_699_999_999_000,
        value: 31.2,
        attributes: BTreeMap::from([("pod".into(), "scanner-0".into())]),
    }
}

/// A valid value, changed.
fn avro(change: impl FnOnce(&mut Reading<'static>)) -> Vec<u8> {
    let mut reading = reading();
    change(&mut reading);
    encode(&reading)
}

/// The header of the current schema, then `datum`.
fn datum(datum: &[&[u8]]) -> Vec<u8> {
    [&encode(&reading())[..10], &datum.concat()].concat()
}

fn read(value: &[u8]) -> Result<Reading<'_>, RejectReason> {
    decode(Some(b"key"), Some(value), APPENDED)
}

fn json(text: &str) -> Result<Reading<'_>, RejectReason> {
    read(text.as_bytes())
}

#[track_caller]
fn refused(value: &[u8], reason: RejectReason) {
    let read = read(value).and_then(|reading| reading.fault().map_or(Ok(reading), Err));
    assert_eq!(read, Err(reason), "{:?}", String::from_utf8_lossy(&value[..value.len().min(99)]));
}

#[test]
fn what_is_not_finite_is_refused_and_what_is_large_counts() {
    for value in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused(&avro(|reading| reading.value = value), ValueNotFinite);
    }
    for value in [1e308, -1e308, f64::MIN_POSITIVE, 5e-324] {
        assert_eq!(read(&avro(|reading| reading.value = value)).unwrap().value, value);
    }
    let zero = read(&avro(|reading| reading.value = -0.0)).unwrap().value;
    assert!(zero == 0.0 && zero.is_sign_positive());
    let zero = json(r#"{"sensor":"q","value":-0.0}"#).unwrap().value;
    assert!(zero == 0.0 && zero.is_sign_positive());
}

#[test]
fn a_record_is_moved_if_all_of_it_is_short_enough() {
    let value = avro(|_| {});
    let movable =
        |key: &[u8], headers: &[(&str, Option<&[u8]>)]| is_movable(Some(key), Some(&value), headers.iter().copied());
    let rest = MAX_MOVED_LENGTH - value.len();
    assert!(movable(&vec![b'k'; rest], &[]));
    assert!(!movable(&vec![b'k'; rest + 1], &[]));
    let weight = vec![0; rest - 22];
    assert!(movable(b"", &[("weight", Some(&weight))]));
    assert!(!movable(b"k", &[("weight", Some(&weight))]));
    assert!(!movable(b"", &vec![("", None); 5_000]), "empty headers are not nothing");
}

#[test]
fn what_cannot_be_moved_to_its_home_is_too_large_and_what_is_at_home_need_not_be_moved() {
    let judged = |service: &'static str, partition, elsewhere| {
        let reading = Reading { service: service.into(), sensor: "q".into(), ..reading() };
        let record = Record { offset: 0, append_ms: APPENDED, body: Body::Reading(&reading), elsewhere };
        core(partition).step(record, &mut Effects::default())
    };
    let home = home_partition("stranger", PARTITIONS);
    let away = (home + 1) % PARTITIONS;
    assert_eq!(judged("stranger", away, Elsewhere::Forward), Outcome::Forwarded { home });
    assert_eq!(judged("stranger", away, Elsewhere::Refuse), Outcome::Rejected(TooLarge));
    assert_eq!(judged("stranger", away, Elsewhere::Stay), Outcome::Rejected(UnknownService));
    for elsewhere in [Elsewhere::Forward, Elsewhere::Stay, Elsewhere::Refuse] {
        assert_eq!(judged("stranger", home, elsewhere), Outcome::Rejected(UnknownService));
        assert!(matches!(judged("s", home, elsewhere), Outcome::Counted { .. }));
    }
}

#[test]
fn a_time_that_is_not_positive_is_refused() {
    for ts in [0, -1, i64::MIN] {
        refused(&avro(|reading| reading.ts = ts), TsInvalid);
        refused(format!(r#"{{"sensor":"q","value":1,"ts":{ts}}}"#).as_bytes(), TsInvalid);
    }
    // Seconds or nanoseconds for milliseconds: the core's business, since they are times.
    for ts in [1_700_000_000, 1_700_000_000_000_000_000, i64::MAX] {
        assert_eq!(read(&avro(|reading| reading.ts = ts)).unwrap().ts, ts);
    }
}

#[test]
fn values_that_are_no_reading_are_told_by_their_first_bytes() {
    assert_eq!(decode(Some(b"key"), None, APPENDED), Err(NullValue));
    refused(b"", Truncated);
    refused(b"31.2", BadMagic);
    refused(b"[]", BadMagic);
    refused(b"\xc3\x02", BadMagic);
    refused(b"\xc3\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00", BadMagic);
    refused(b"  \xc3\x01", BadMagic);
    refused(b"\xef\xbb", BadMagic);
    refused(b"\x00", UnknownSchema);
    refused(b"\x00\x00\x00\x00\x01hello", UnknownSchema);
    refused(b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08", UnknownSchema);
}

#[test]
fn avro_that_is_cut_off_anywhere_is_truncated() {
    let whole = avro(|_| {});
    assert_eq!(read(&whole), Ok(reading()));
    for end in 0..whole.len() {
        refused(&whole[..end], Truncated);
    }
    refused(&[&whole[..], b"\0"].concat(), TrailingBytes);
}

#[test]
fn json_that_is_cut_off_anywhere_is_truncated() {
    let whole =
        br#"  {"service":"DCA_Luggage_Scanner","sensor":"queue_time_s\u0065conds","ts":1699999999000,"a":[true,null],
        "value":-3.12e+1,"attributes":{"pod":"scanner-0\\"}}"#;
    assert_eq!(read(whole).unwrap().value, -31.2);
    for end in 0..whole.len() {
        refused(&whole[..end], Truncated);
    }
    refused(&[&whole[..], b"{}"].concat(), TrailingBytes);
    refused(&[&whole[..], b"\0"].concat(), TrailingBytes);
    assert!(read(&[&whole[..], b" \r\n"].concat()).is_ok());
}

/// A string of 2^61 bytes, an array of 4 * 10^8 items: neither allocates.
#[test]
fn lengths_and_counts_that_lie_are_truncated() {
    let string_of_2_61 = b"\x80\x80\x80\x80\x80\x80\x80\x80\x40";
    let count_of_400_000_000 = b"\x80\xe0\xbe\xfd\x02";
    refused(&datum(&[string_of_2_61, b"abc"]), Truncated);
    refused(&datum(&[b"\x02a\x02b\x02\0\0\0\0\0\0\0\0", count_of_400_000_000, b"\x02a"]), Truncated);
    refused(&datum(&[b"\x01"]), Malformed);
    refused(&datum(&[&[0xff; 11]]), Malformed);
}

#[test]
fn text_that_is_not_utf8_is_malformed_unless_it_is_cut_off_too() {
    let value = datum(&[b"\x02\xff", b"\x02b\x02\0\0\0\0\0\0\0\0\0"]);
    refused(&value, Malformed);
    refused(&value[..value.len() - 1], Truncated);
    refused(b"{\"sensor\":\"\xff\",\"value\":1}", Malformed);
    refused(b"{\"sensor\":\"\\ud800\",\"value\":1}", Malformed);
}

#[test]
fn what_is_large_is_refused_for_that_unless_an_earlier_reason_applies() {
    let padded = |length: usize, reading: &mut Reading<'static>| {
        reading.attributes.insert("pad".into(), "x".repeat(length).into());
    };
    let overhead = avro(|reading| padded(30_000, reading)).len() - 30_000;
    assert!(read(&avro(|reading| padded(MAX_VALUE_LENGTH - overhead, reading))).is_ok());
    let large = avro(|reading| padded(MAX_VALUE_LENGTH - overhead + 1, reading));
    refused(&large, TooLarge);
    refused(&large[..large.len() - 1], Truncated);
    refused(&[&large[..], b"\0"].concat(), TrailingBytes);
    refused(&[b"\x01".as_slice(), &large].concat(), BadMagic);
    refused(&avro(|reading| (reading.value, reading.ts, _) = (f64::NAN, 0, padded(60_000, reading))), TooLarge);
    let json = format!(r#"{{"value":true,"pad":"{}"}}"#, "x".repeat(60_000));
    refused(json.as_bytes(), TooLarge);
    refused(&json.as_bytes()[..60_000], Truncated);
}

#[test]
fn nesting_of_any_depth_is_read_without_recursion() {
    let nested = |depth: usize| format!(r#"{{"value":1,"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    refused(nested(10_000).as_bytes(), Malformed);
    refused(nested(100_000).as_bytes(), TooLarge);
    refused("{\"a\":".repeat(100_000).as_bytes(), Truncated);
    refused("[".repeat(100_000).as_bytes(), BadMagic);
}

#[test]
fn names_that_could_confuse_a_reader_are_bad() {
    let long = "x".repeat(256);
    for name in ["", "<script>", "a\u{202e}b", "a\0", "a\nb", "\u{1b}[31mred", "../x", "é", "_ops", &long] {
        refused(&avro(|reading| reading.service = name.to_owned().into()), BadName);
    }
    for name in ["", "<script>", "a\u{202e}b", "a\0", "a\nb", "\u{1b}[31mred", "a-b", "1up", &long] {
        refused(&avro(|reading| reading.sensor = name.to_owned().into()), BadName);
        let text = serde_json::json!({"sensor": name, "value": 1}).to_string();
        refused(text.as_bytes(), BadName);
    }
    refused(br#"{"value":1}"#, BadName);
}

#[test]
fn the_key_names_the_service_only_where_the_value_does_not() {
    let bare = br#"{"sensor":"q","value":1}"#;
    assert_eq!(decode(Some(b"key"), Some(bare), APPENDED).unwrap().service, "key");
    for key in [None, Some(&b""[..]), Some(b"\xff\xfe"), Some(b"a b")] {
        assert_eq!(decode(key, Some(bare), APPENDED), Err(BadName), "{key:?}");
        assert_eq!(decode(key, Some(&avro(|_| {})), APPENDED), Ok(reading()), "{key:?}");
        let named = br#"{"service":"svc","sensor":"q","value":1}"#;
        assert_eq!(decode(key, Some(named), APPENDED).unwrap().service, "svc", "{key:?}");
    }
}

#[test]
fn json_is_taken_as_any_client_writes_it() {
    let whole =
        Reading { service: "key".into(), sensor: "q".into(), ts: APPENDED, value: 31.2, attributes: BTreeMap::new() };
    assert_eq!(json(r#"{"sensor":"q","value":31.2}"#), Ok(whole.clone()));
    assert_eq!(json("\u{feff} \n{\"sensor\":\"q\",\"value\":31.2,\"unit\":{\"x\":[1e999]}}\n"), Ok(whole));
    refused("\u{feff}".as_bytes(), Truncated);
    refused(b" ", Truncated);
}

#[test]
fn json_that_says_nothing_clear_is_malformed() {
    for text in [
        r#"{"sensor":"q"}"#,
        r#"{"sensor":"q","value":null}"#,
        r#"{"sensor":"q","value":"31.2"}"#,
        r#"{"sensor":"q","value":true}"#,
        r#"{"sensor":"q","value":NaN}"#,
        r#"{"sensor":"q","value":01}"#,
        r#"{"sensor":7,"value":1}"#,
        r#"{"sensor":"q","value":1,"ts":"1700000000000"}"#,
        r#"{"sensor":"q","value":1,"ts":1.5}"#,
        r#"{"sensor":"q","value":1,"ts":9223372036854775808}"#,
        r#"{"sensor":"q","value":1,"attributes":[]}"#,
        r#"{"sensor":"q","value":1,"attributes":{"pod":1}}"#,
        r#"{"sensor":"q","value":1,}"#,
        r#"{'sensor':'q','value':1}"#,
        "{\"sensor\":\"q\n\",\"value\":1}",
        // Doubled keys: also when they are written in different ways, unknown or deeper.
        r#"{"sensor":"q","value":1,"value":1}"#,
        r#"{"sensor":"q","sens\u006fr":"q","value":1}"#,
        r#"{"sensor":"q","value":1,"x":1,"x":1}"#,
        r#"{"sensor":"q","value":1,"attributes":{"pod":"a","pod":"b"}}"#,
    ] {
        refused(text.as_bytes(), Malformed);
    }
}

#[test]
fn json_numbers_beyond_a_double_are_not_finite() {
    for value in ["1e999", "-1e999", "1.0E+400", "\"NaN\"", "\"Infinity\"", "\"-Infinity\""] {
        refused(format!(r#"{{"sensor":"q","value":{value}}}"#).as_bytes(), ValueNotFinite);
    }
    assert_eq!(json(r#"{"sensor":"q","value":1e308}"#).unwrap().value, 1e308);
    assert_eq!(json(r#"{"sensor":"q","value":1e-999}"#).unwrap().value, 0.0);
}

#[test]
fn of_several_reasons_the_first_is_given() {
    refused(br#"{"sensor":"a b","value":1e999,"ts":0}"#, BadName);
    refused(br#"{"sensor":"q","value":1e999,"ts":0}"#, ValueNotFinite);
    refused(br#"{"sensor":"a b","value":true,"ts":0}"#, Malformed);
    refused(br#"{"sensor":"a b","value":true,"ts":0}x"#, TrailingBytes);
    refused(&avro(|reading| (reading.value, reading.ts) = (f64::NAN, 0)), ValueNotFinite);
}

const PARTITIONS: i32 = 3;

/// A partition in which the service `s` lives, wherever that is at home.
fn core(partition: i32) -> Core {
    let mut core = Core::new(partition, PARTITIONS);
    let text = "id: s\nowner: o\nsensors:\n  - name: q\n";
    let spec = hms_ops::spec::parse(text).expect("a spec").spec;
    core.apply([SpecChange::Register(Arc::new(spec))], 0, &mut Effects::default());
    core
}

/// A reading of some service and sensor, well named or not.
fn named() -> impl Strategy<Value = Vec<u8>> {
    let service = prop::sample::select(vec!["s", "other", "_ops", "", "a b", "é", "../x"]);
    let sensor = prop::sample::select(vec!["q", "other", "tick", "", "a-b", "1up"]);
    let value = prop::sample::select(vec![1.5, f64::NAN]);
    (service, sensor, value, any::<bool>()).prop_map(|(service, sensor, value, as_json)| {
        if as_json {
            return serde_json::json!({"service": service, "sensor": sensor, "value": value}).to_string().into_bytes();
        }
        let (service, sensor) = (service.into(), sensor.into());
        encode(&Reading { service, sensor, ts: APPENDED, value, attributes: BTreeMap::new() })
    })
}

/// A reading with a few bytes changed, cut off or added.
fn mutilated() -> impl Strategy<Value = Vec<u8>> {
    let json = br#"{"service":"s","sensor":"q","ts":17,"value":1.5,"attributes":{"a":"b"}}"#.to_vec();
    let whole = prop_oneof![Just(json), Just(encode(&reading()))];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (whole, edits, prop::collection::vec(any::<u8>(), 0..9), any::<prop::sample::Index>()).prop_map(
        |(mut value, edits, tail, end)| {
            for (place, byte) in edits {
                let place = place.index(value.len());
                value[place] = byte;
            }
            value.extend(tail);
            value.truncate(end.index(value.len() + 1));
            value
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// What is taken is a reading that can be sent on and is then the same.
    #[test]
    fn whatever_comes_is_a_sound_reading_or_has_a_reason(
        value in prop_oneof![mutilated(), prop::collection::vec(any::<u8>(), 0..64)],
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
    ) {
        match decode(key.as_deref(), Some(&value), APPENDED) {
            Ok(reading) => {
                let bytes = encode(&reading);
                let back = decode(None, Some(&bytes), 1);
                prop_assert!(back.as_ref() == Ok(&reading) || reading.fault() == Some(ValueNotFinite));
            }
            Err(reason) => prop_assert!(reason <= BadName),
        }
    }

    /// The processor leaves names to the core: nothing becomes of a record that would not have become of it.
    #[test]
    fn the_core_judges_names_as_the_decoder_does(
        value in prop_oneof![mutilated(), named()],
        key in prop::sample::select(vec![None, Some(&b"s"[..]), Some(b"a b"), Some(b"\xff")]),
        elsewhere in prop::sample::select(vec![Elsewhere::Forward, Elsewhere::Stay, Elsewhere::Refuse]),
        partition in 0..PARTITIONS,
    ) {
        let outcome = |reading: Result<Reading<'_>, RejectReason>| {
            let body = reading.as_ref().map_or_else(|reason| Body::Unreadable(*reason), Body::Reading);
            core(partition).step(Record { offset: 0, append_ms: APPENDED, body, elsewhere }, &mut Effects::default())
        };
        let judged = outcome(decode(key, Some(&value), APPENDED));
        prop_assert_eq!(outcome(decode_with_any_name(Ids::NONE, key, Some(&value), APPENDED)), judged);
        let is_forwarded = matches!(judged, Outcome::Forwarded { .. });
        prop_assert!(elsewhere == Elsewhere::Forward || !is_forwarded);
    }
}
