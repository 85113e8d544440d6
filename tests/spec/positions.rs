//! Findings point at the very word, in the columns of the file, through quotes and escapes.

use hms_ops::spec::{self, diagnose};

use super::{GOOD, error, errors, step, with};

/// Where the only error of `text` stands.
fn place(text: &str) -> (usize, usize) {
    let error = error(text);
    (error.line, error.column)
}

/// Where `word` stands in `text`, counted in characters.
fn place_of(text: &str, word: &str) -> (usize, usize) {
    let at = text.find(word).unwrap();
    let before = &text[..at];
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

#[test]
fn an_error_inside_a_scalar_points_at_the_word() {
    for text in [
        step("qq > 5", "page ops"),
        step("q > 5 for 3 qq", "page ops"),
        step("slo_breach", "page ops & qq now"),
        step("slo_breach", "page channel=ops, qq=1"),
        step("'slo_breach'", "'page ops & qq pod'"),
        step("\"slo_breach\"", "\"page ops &\\x20qq pod\""),
        step("\"slo_breach\"", "\"p\\u0061ge ops \\U00000026 qq pod\""),
        step("error_rate > 2 % for 5 qq", "page é"),
        with("  threshold: 30", "  threshold: qq"),
        with("  window_seconds: 10", "  window_seconds: 10 qq"),
        with("  target: q", "  target: qq"),
        with("{name: load, unit: percent}", "{name: load, unit: qq}"),
    ] {
        let found = errors(&text);
        assert_eq!((found[0].line, found[0].column), place_of(&text, "qq"), "{found:?}\n{text}");
    }
}

#[test]
fn columns_count_characters_not_bytes() {
    let text = step("slo_breach", "\"page ops & é\"");
    assert_eq!(place(&text), place_of(&text, "é"));
    let text = with("id: svc", "id: svc\n\"ééé\": {}");
    assert_eq!(place(&text), (2, 1));
}

#[test]
fn a_missing_word_points_behind_the_last() {
    assert_eq!(place(&step("q >", "page ops")), (16, 12));
    assert_eq!(place(&step("slo_breach", "page ops &")), (17, 21));
}

#[test]
fn a_scalar_of_several_lines_points_at_its_beginning() {
    let text = step("slo_breach", "page\n      ops & qq x");
    assert_eq!(place(&text), (17, 11));
}

#[test]
fn a_missing_field_points_at_its_map() {
    let text = with("  - {name: load, unit: percent}", "  - {unit: percent}");
    assert_eq!(place(&text), (6, 5));
    let text = with("  threshold: 30\n", "");
    assert_eq!(place(&text), (12, 3));
}

#[test]
fn all_errors_are_told_at_once_in_file_order() {
    let text = GOOD.replace("ratio", "ratoi").replace("threshold: 30", "threshold: many").replace("page", "pgae");
    let lines: Vec<usize> = errors(&text).iter().map(|error| error.line).collect();
    assert_eq!(lines, [5, 13, 17]);
}

#[test]
fn what_is_missing_at_the_end_is_missing_behind_the_last_character() {
    for text in ["{", "{rm", "id: svc\nowner: [a, b"] {
        let last = text.split('\n').next_back().unwrap();
        assert_eq!(place(text), (text.split('\n').count(), last.chars().count() + 1), "{text:?}");
    }
}

#[test]
fn a_byte_order_mark_moves_no_column() {
    let text = "\u{feff}ids: a\nowner: b\n";
    let found = errors(text);
    assert_eq!((found[1].line, found[1].column), (1, 1));
    let shown = diagnose::render("x", text, &found[1], false);
    assert!(shown.contains("1 | ids: a\n  | ^\n"), "{shown}");
}

#[test]
fn crlf_moves_no_line() {
    let text = with("  threshold: 30", "  threshold: x").replace('\n', "\r\n");
    assert_eq!(place(&text), (13, 14));
}

#[test]
fn a_carriage_return_alone_ends_a_line_in_yaml_and_in_what_is_shown() {
    let text = "id: a\rowner: b\rowners: c\r";
    assert_eq!(place(text), (3, 1));
    assert!(diagnose::render("x", text, &error(text), false).contains("3 | owners: c\n"));
}

#[test]
fn suggestions_know_keywords_events_and_sensors() {
    for (condition, help) in [
        ("slo_breech", "did you mean `slo_breach`?"),
        ("unauthorised_login", "did you mean `unauthorized_login`?"),
        ("eror_rate > 5", "did you mean `error_rate`?"),
        ("error_rate", "write `error_rate > ...`"),
    ] {
        assert_eq!(error(&step(condition, "page ops")).help.as_deref(), Some(help));
    }
    assert_eq!(error(&step("slo_breach", "scaleup compute=2")).help.as_deref(), Some("did you mean `scale_up`?"));
}

#[test]
fn the_finding_is_shown_like_a_compilers() {
    let text = step("slo_breach", "pgae channel=ops");
    let shown = diagnose::render("svc.ops.yaml", &text, &error(&text), false);
    let expected = "\
svc.ops.yaml:17:11: error: unknown verb `pgae`
   |
17 |     then: pgae channel=ops
   |           ^
   = help: did you mean `page`?
";
    assert_eq!(shown, expected);
    let findings = spec::parse(&text).unwrap_err();
    assert_eq!(findings.to_string(), "line 17 column 11: unknown verb `pgae` (did you mean `page`?)");
}
