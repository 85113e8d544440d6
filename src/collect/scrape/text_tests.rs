//! Tests of the reader of pages: what it takes, what it refuses, and that nothing makes it panic.

use proptest::prelude::*;

use super::*;

fn all(text: &str, format: Format) -> Result<Page<'_>, Broken> {
    parse(text, format, |_| true)
}

/// `name{a=b} value @timestamp` of each sample.
fn told(page: &Page<'_>) -> Vec<String> {
    let told = |sample: &Sample<'_>| {
        let labels: Vec<_> = sample.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let at = sample.timestamp_ms.map_or(String::new(), |ms| format!(" @{ms}"));
        format!("{}{{{}}} {}{at}", sample.name, labels.join(","), sample.value)
    };
    page.samples.iter().map(told).collect()
}

/// The example of the documentation of the format.
#[test]
fn the_page_of_the_documentation_is_read() {
    let page = r#"# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01",} 3102
rpc_duration_seconds_sum 1.7560473e+07
"#;
    let page = all(page, Format::Plain).unwrap();
    assert_eq!(
        told(&page),
        [
            r#"http_requests_total{method="post",code="200"} 1027 @1395066363000"#,
            r#"http_requests_total{method="post",code="400"} 3 @1395066363000"#,
            r#"msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1458255915"#,
            r#"metric_without_timestamp_and_labels{} 12.47"#,
            r#"something_weird{problem="division by zero"} inf @-3982045"#,
            r#"rpc_duration_seconds{quantile="0.01"} 3102"#,
            r#"rpc_duration_seconds_sum{} 17560473"#,
        ]
    );
    assert_eq!(page.kind("http_requests_total"), Some(Kind::Counter));
    assert_eq!(page.kind("rpc_duration_seconds_sum"), Some(Kind::Summary));
    assert_eq!(page.kind("something_weird"), None);
}

#[test]
fn a_page_of_openmetrics_is_read_with_its_exemplars() {
    let page = "# TYPE foo counter\n# UNIT foo seconds\nfoo_total 17.0 1520879607.789 # {trace_id=\"KOO5S4vxi0o\"} 0.67\n\
                foo_created 1520430000.123\nfoo_bucket{le=\"1.0\"} 8 # {} 0.1 1.5\n# EOF\n";
    let page = all(page, Format::OpenMetrics).unwrap();
    assert_eq!(
        told(&page),
        ["foo_total{} 17 @1520879607789", "foo_created{} 1520430000.123", "foo_bucket{le=\"1.0\"} 8"]
    );
    assert_eq!((page.kind("foo_total"), page.total), (Some(Kind::Counter), 3));
}

#[test]
fn line_breaks_and_blanks_are_taken_as_they_come() {
    let expected = ["a{} 1", "b{c=\"d\"} 2 @3"];
    for page in [
        "a 1\nb{c=\"d\"} 2 3\n",
        "a 1\r\nb{c=\"d\"} 2 3\r\n",
        "a 1\nb{c=\"d\"} 2 3",
        "\n a\t1 \n\nb { c = \"d\" , }2\t3\n",
    ] {
        assert_eq!(told(&all(page, Format::Plain).unwrap()), expected, "{page:?}");
    }
    assert!(all("a 1\n# EOF", Format::OpenMetrics).is_ok() && all("# EOF\r\n", Format::OpenMetrics).is_ok());
    assert_eq!(all("", Format::Plain).unwrap().total, 0);
}

#[test]
fn numbers_are_those_of_go_and_what_overflows_is_none() {
    for (text, value) in [
        ("1", 1.0),
        ("-0.5", -0.5),
        ("+1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-400", 0.0),
        ("1.7976931348623157e308", f64::MAX),
        ("+Inf", f64::INFINITY),
        ("-inf", f64::NEG_INFINITY),
        ("Infinity", f64::INFINITY),
    ] {
        assert_eq!(number(text), Ok(value), "{text}");
    }
    assert!(number("NaN").unwrap().is_nan());
    for text in ["", "1e400", "-1e999", "0x10", "1_000", "1,5", "e5", "--1", "1e", "١", "true", "inf1"] {
        assert!(number(text).is_err(), "{text}");
    }
}

/// Each breaks a page; the same page without that line is whole.
#[test]
fn a_line_that_breaks_a_rule_breaks_the_page() {
    for (line, said) in [
        ("<!DOCTYPE html>", "is no sample"),
        ("<html><body>a 1</body></html>", "is no sample"),
        ("{\"a\": 1}", "is no sample"),
        ("a", "is no name of a metric"),
        ("a ", "is no name of a metric"),
        ("a b", "is no number"),
        ("a 1e400", "is larger than any number"),
        ("a 1 99999999999999999999", "is no time stamp"),
        ("a 1 1.5", "is no time stamp"),
        ("a 1 2 3", "after the sample"),
        ("a 1 # {b=\"c\"} 1", "after the sample"),
        ("a-b 1", "is no name of a metric"),
        ("1a 1", "is no sample"),
        ("é 1", "is no sample"),
        ("a{b=\"c\" 1", "no `,` or `}` after the label b"),
        ("a{b=c} 1", "has no quotes"),
        ("a{b} 1", "no `=` after the label b"),
        ("a{b:c=\"d\"} 1", "no `=` after the label b"),
        ("a{,} 1", "is no name of a label"),
        ("a{b=\"c\",,} 1", "is no name of a label"),
        ("a{b=\"c\"} ", "is no number"),
        ("a{b=\"c", "without a closing quote"),
        ("a{b=\"\\t\"} 1", "a backslash before"),
        ("a{b=\"c\\", "a backslash before"),
        ("a{b=\"c\",b=\"d\"} 1", "the label b twice"),
        ("# TYPE a sum", "is no type of a metric"),
        ("# TYPE a", "needs a name and a type"),
        ("# TYPE a b c", "needs a name and a type"),
        ("# TYPE b gauge\n# TYPE b gauge", "a second `# TYPE` of b"),
    ] {
        let page = |line: &str| format!("# TYPE x gauge\nx 1\n{line}\ny 2\n");
        let error = all(&page(line), Format::Plain).unwrap_err();
        assert!(error.what.contains(said), "{line}: {error}");
        assert_eq!(error.line, 3 + line.matches('\n').count(), "{line}");
        assert_eq!(all(&page("# anything"), Format::Plain).unwrap().total, 2);
    }
}

#[test]
fn openmetrics_ends_with_eof_and_takes_whole_exemplars_alone() {
    for (page, said) in [
        ("a 1\n", "without `# EOF`"),
        ("", "without `# EOF`"),
        ("a 1\n#EOF\n", "without `# EOF`"),
        ("# EOF\na 1\n", "something follows"),
        ("# EOF\n# EOF\n", "something follows"),
        ("a 1 1e99\n# EOF\n", "is no time stamp"),
        ("a 1 NaN\n# EOF\n", "is no time stamp"),
        ("a 1 # 1\n# EOF\n", "an exemplar without labels"),
        ("a 1 # {b=\"c\"}\n# EOF\n", "is no number"),
        ("a 1 # {b=\"c\"} 1 2 3\n# EOF\n", "after the exemplar"),
    ] {
        let error = all(page, Format::OpenMetrics).unwrap_err();
        assert!(error.what.contains(said), "{page}: {error}");
    }
}

#[test]
fn what_is_kept_and_what_is_told_of_a_page_is_bounded() {
    let labels: String = (0..=MAX_LABELS).map(|n| format!("l{n}=\"\",")).collect();
    assert!(all(&format!("a{{{labels}}} 1"), Format::Plain).unwrap_err().what.contains("labels"));
    let many = "a 1\n".repeat(MAX_KEPT + 1);
    assert!(all(&many, Format::Plain).unwrap_err().what.contains("more samples"));
    assert_eq!(parse(&many, Format::Plain, |name| name == "b").unwrap().total, MAX_KEPT + 1);
    let long = "x".repeat(10_000);
    assert!(all(&format!("{long}<"), Format::Plain).unwrap_err().what.len() < 200);
}

fn pages() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z_:]{1,4}",
        r#"[{}="\\, \t\n\r#]{1,3}"#,
        "-?[0-9.e]{1,5}",
        Just("# TYPE ".to_owned()),
        Just("# EOF\n".to_owned()),
        Just("NaN".to_owned()),
        "\\PC{0,3}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in pages(), any in any::<String>()) {
        for text in [&text, &any] {
            for format in [Format::Plain, Format::OpenMetrics] {
                if let Err(error) = all(text, format) {
                    prop_assert!(error.line <= text.split('\n').count() && !error.what.is_empty());
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_what_is_read(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,9}",
        labels in prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,9}", any::<String>(), 0..5),
        value in any::<f64>(),
        timestamp in any::<Option<i64>>(),
    ) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let inside: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let at = timestamp.map_or(String::new(), |ms| format!(" {ms}"));
        let text = format!("{name}{{{}}} {value:e}{at}\n", inside.join(","));
        let page = all(&text, Format::Plain).unwrap();
        let sample = &page.samples[0];
        prop_assert_eq!((sample.name, sample.timestamp_ms), (&*name, timestamp));
        prop_assert_eq!(sample.value.to_bits() == value.to_bits() || value.is_nan(), true);
        let read: Vec<_> = sample.labels.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        prop_assert_eq!(read, labels.into_iter().collect::<Vec<_>>());
    }
}
