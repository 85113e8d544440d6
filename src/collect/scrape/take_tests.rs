//! Tests of what becomes a reading: samples, rates, quantiles, time stamps; and what does not.

use super::*;
use crate::collect::scrape::text::{Format, parse};
use crate::spec;

const NOW: i64 = 1_700_000_000_000;

/// The taker of a sensor with these fields.
fn taker(fields: &str) -> Taker {
    let text = format!("id: s\nowner: o\nsensors:\n  - {{name: q, scrape_url: 'http://h/', {fields}}}\n");
    Taker::new(spec::parse(&text).unwrap().spec.sensors.remove(0))
}

/// `seconds` after the beginning.
fn at(seconds: i64) -> Moment {
    Moment { host_ms: NOW + seconds * 1000, since: Duration::from_secs(seconds.unsigned_abs()) }
}

fn take(taker: &mut Taker, page: &str, seconds: i64) -> Result<Option<f64>, String> {
    let page = parse(page, Format::Plain, |name| taker.wants(name)).unwrap();
    taker.take(&page, at(seconds)).map(|taken| taken.map(|taken| taken.value)).map_err(|down| down.reason)
}

#[test]
fn a_value_is_the_one_sample_that_matches() {
    let page = "q{a=\"1\",b=\"2\"} 5\nq{a=\"2\"} 6\nq_total 7\n";
    assert_eq!(take(&mut taker("match: {a: '2'}"), page, 0), Ok(Some(6.0)));
    assert_eq!(take(&mut taker("metric: q_total"), page, 0), Ok(Some(7.0)));
    for (fields, said) in [
        ("take: value", "ambiguous: 2 samples match q"),
        ("match: {a: '3'}", "no sample q{a=\"3\"}, and 2 with other labels"),
        ("metric: nope", "no sample nope"),
    ] {
        assert_eq!(take(&mut taker(fields), page, 0), Err(said.to_owned()));
    }
    let doubled = take(&mut taker("match: {a: '1'}"), "q{a=\"1\",b=\"2\"} 5\nq{b=\"2\",a=\"1\"} 5\n", 0);
    assert_eq!(doubled, Err("a doubled series: q{a=\"1\"} is there twice".to_owned()));
    for (value, said) in [("NaN", "q is NaN"), ("+Inf", "q is inf")] {
        assert_eq!(take(&mut taker(""), &format!("q {value}\n"), 0), Err(said.to_owned()));
    }
}

#[test]
fn a_rate_needs_two_scrapes_and_survives_a_restart_of_the_counter() {
    let mut taker = taker("take: rate");
    assert_eq!(take(&mut taker, "# TYPE q counter\nq 100\n", 0), Ok(None));
    assert_eq!(take(&mut taker, "q 150\n", 5), Ok(Some(10.0)));
    assert_eq!(take(&mut taker, "q 20\n", 10), Ok(Some(4.0)), "from 0");
    assert_eq!(take(&mut taker, "other 1\n", 15).unwrap_err(), "no sample q");
    assert_eq!(take(&mut taker, "q 40\n", 20), Ok(Some(2.0)), "over the hole");
    assert_eq!(take(&mut taker, "q{pod=\"b\"} 90\n", 25), Ok(None), "another series");
    assert_eq!(take(&mut taker, "q{pod=\"b\"} 90\n", 30), Ok(Some(0.0)));
    assert_eq!(take(&mut taker, "q{pod=\"b\"} 99\n", 91), Ok(None), "too long ago");
    for (page, said) in [("q -1\n", "never negative"), ("# TYPE q gauge\nq 1\n", "is a gauge"), ("q NaN\n", "NaN")] {
        assert!(take(&mut taker, page, 95).unwrap_err().contains(said), "{page}");
    }
}

#[test]
fn a_rate_goes_by_the_clock_of_the_page_where_it_has_one() {
    let mut taker = taker("take: rate");
    let page = |value: i64, seconds: i64| format!("q {value} {}\n", NOW + seconds * 1000);
    assert_eq!(take(&mut taker, &page(0, 0), 1), Ok(None));
    assert_eq!(take(&mut taker, &page(0, 0), 6), Ok(None), "not renewed");
    assert_eq!(take(&mut taker, &page(80, 8), 9), Ok(Some(10.0)));
}

#[test]
fn a_time_stamp_of_the_page_is_taken_if_it_can_be_true_and_once() {
    let stamped = |taker: &mut Taker, ts: i64, seconds: i64| {
        let text = format!("q 1 {ts}\n");
        let page = parse(&text, Format::Plain, |_| true).unwrap();
        taker.take(&page, at(seconds)).map(|taken| taken.map(|taken| taken.ts)).map_err(|down| down.reason)
    };
    let mut taker = taker("");
    assert_eq!(stamped(&mut taker, NOW - 3_600_000, 0), Ok(Some(NOW - 3_600_000)));
    assert_eq!(stamped(&mut taker, NOW - 3_600_000, 0), Ok(None), "not renewed");
    assert_eq!(stamped(&mut taker, NOW + 5_000, 0), Ok(Some(NOW + 5_000)));
    assert_eq!(stamped(&mut taker, NOW, 0), Ok(None), "older than what was read before");
    for (ts, said) in [
        (NOW + 5_001, "5.001 s ahead of"),
        (NOW - 3_600_001, "3600.001 s behind"),
        (0, "not above 0"),
        (-1, "not above 0"),
        (i64::MIN, "not above 0"),
        (i64::MAX, "ahead of"),
        (NOW / 1000, "behind"),
        (NOW * 1000, "ahead of"),
    ] {
        assert!(stamped(&mut taker, ts, 0).unwrap_err().contains(said), "{ts}");
    }
    let page = parse("q 1\n", Format::Plain, |_| true).unwrap();
    assert_eq!(taker.take(&page, at(7)), Ok(Some(Taken { value: 1.0, ts: NOW + 7_000 })));
}

fn histogram(counts: [f64; 3]) -> String {
    let [a, b, c] = counts;
    format!("q_bucket{{le=\"1\"}} {a}\nq_bucket{{le=\"2\"}} {b}\nq_bucket{{le=\"+Inf\"}} {c}\nq_count {c}\nq_sum 9\n")
}

#[test]
fn a_quantile_of_a_histogram_is_of_what_was_counted_since() {
    let mut taker = taker("take: p50");
    assert_eq!(take(&mut taker, &histogram([1e6, 1e6, 1e6]), 0), Ok(None));
    assert_eq!(take(&mut taker, &histogram([1e6, 1e6 + 4.0, 1e6 + 4.0]), 5), Ok(Some(1.5)));
    assert_eq!(take(&mut taker, &histogram([1e6, 1e6 + 4.0, 1e6 + 4.0]), 10), Ok(None), "no observation");
    assert_eq!(take(&mut taker, &histogram([2.0, 2.0, 2.0]), 15), Ok(Some(0.5)), "began anew");
    let two =
        histogram([3.0, 3.0, 3.0]).replace("{", "{a=\"1\",") + &histogram([3.0, 3.0, 3.0]).replace("{", "{a=\"2\",");
    assert!(take(&mut taker, &two, 20).unwrap_err().starts_with("ambiguous: several histograms"));
    for (page, said) in [
        (histogram([3.0, 2.0, 3.0]), "counts less"),
        (histogram([3.0, 3.0, 3.0]).replace("q_count 3", "q_count 4"), "its count is 4"),
        (histogram([3.0, 3.0, 3.0]).replace("le=\"2\"", "le=\"1\""), "twice"),
        (histogram([-3.0, 3.0, 3.0]), "counts -3"),
        ("q_bucket{le=\"+Inf\"} 1\nq_bucket 2\n".to_owned(), "is no bound"),
        ("q_sum 1\n".to_owned(), "no histogram and no summary q"),
    ] {
        assert!(take(&mut taker, &page, 25).unwrap_err().contains(said), "{page}");
    }
    assert_eq!(take(&mut taker, &histogram([3.0, 3.0, 3.0]), 30), Ok(Some(0.5)), "and is up again");
    let labelled = histogram([1.0, 1.0, 1.0]).replace("{", "{a=\"1\",").replace("q_count 1", "q_count{a=\"1\"} 1");
    let mut one = self::taker("take: p50, match: {a: '1'}");
    assert_eq!(take(&mut one, &(labelled.clone() + &histogram([9.0, 9.0, 9.0])), 0), Ok(None));
    assert!(take(&mut one, &labelled.replace("_count{a=\"1\"} 1", "_count{a=\"1\"} 2"), 5).is_err());
}

#[test]
fn a_quantile_of_a_summary_is_as_it_says() {
    let page = "q{quantile=\"0.5\"} 1\nq{quantile=\"0.95\"} 2\nq{quantile=\"0.99\"} NaN\nq_sum 3\nq_count 4\n";
    assert_eq!(take(&mut taker("take: p95"), page, 0), Ok(Some(2.0)));
    assert_eq!(take(&mut taker("take: quantile 0.5"), page, 0), Ok(Some(1.0)));
    assert_eq!(take(&mut taker("take: p99"), page, 0), Ok(None), "no observation is no fault");
    assert_eq!(take(&mut taker("take: p90"), page, 0), Err("the summary q has no quantile 0.9".to_owned()));
    let twice = "q{quantile=\"0.5\",a=\"1\"} 1\nq{quantile=\"0.5\",a=\"2\"} 1\n";
    assert_eq!(take(&mut taker("take: p50"), twice, 0), Err("ambiguous: 2 samples match q".to_owned()));
}
