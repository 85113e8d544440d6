//! Nothing that is given to the parser makes it panic, and what it refuses it refuses with a place.

use hms_ops::model::network::Networks;
use hms_ops::spec::{self, diagnose, explain};
use proptest::prelude::*;

use super::{EXAMPLE, GOOD};

/// Parses and shows everything there is to show.
fn try_all(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let findings = match spec::lint_bytes(bytes, &Networks::default()) {
        Ok(checked) => {
            assert!(!explain::explain(&checked.spec).is_empty());
            checked.warnings
        }
        Err(findings) => {
            assert!(findings.0.iter().any(|finding| finding.severity == spec::Severity::Error));
            findings.0
        }
    };
    for finding in &findings {
        assert!(finding.line > 0 && finding.column > 0, "{finding:?}");
        let shown = diagnose::render("f", &text, finding, false);
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    }
}

/// A part of a text replaced: where, how much, and by what.
fn edit() -> impl Strategy<Value = (usize, usize, String)> {
    let words = prop::sample::select(vec![
        ":",
        "- ",
        "\n",
        "  ",
        "\t",
        "'",
        "\"",
        "\\",
        "&a ",
        "*a ",
        "!x ",
        "[",
        "]",
        "{",
        "}",
        "|\n",
        ">\n",
        "#",
        "%",
        "$",
        "=+",
        "=-",
        ">=",
        "&",
        ",",
        "?",
        "---\n",
        "...\n",
        "\u{feff}",
        "\u{202e}",
        "\r",
        "\u{0}",
        "é",
        "999999999999",
        "-1",
        "0.5 ms",
        " for ",
        "slo_breach",
        "page",
        "null",
        "~",
        "<<: ",
        "token=",
        "xoxb-12345",
    ]);
    (any::<prop::sample::Index>(), 0_usize..12, prop_oneof![words.prop_map(str::to_owned), any::<String>()])
        .prop_map(|(at, length, with)| (at.index(1 << 16), length, with))
}

fn edited(text: &str, edits: &[(usize, usize, String)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, length, with) in edits {
        let at = at % (chars.len() + 1);
        let end = (at + length).min(chars.len());
        chars.splice(at..end, with.chars());
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        try_all(text.as_bytes());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        try_all(&bytes);
    }

    #[test]
    fn no_edit_of_a_good_spec_makes_it_panic(edits in prop::collection::vec(edit(), 1..6)) {
        try_all(edited(EXAMPLE, &edits).as_bytes());
        try_all(edited(GOOD, &edits).as_bytes());
    }

    #[test]
    fn no_expression_makes_it_panic(condition in "[ -~]{0,24}", action in "[ -~]{0,24}") {
        try_all(super::step(&format!("'{}'", condition.replace('\'', "''")), &format!("'{}'", action.replace('\'', "''"))).as_bytes());
    }

    /// Percent of a ratio is the very number that one would write.
    #[test]
    fn percent_is_the_decimal_shifted(ppm in 0_u32..1_000_000) {
        let percent = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
        let ratio = format!("0.{ppm:06}");
        let literal = |text: &str| {
            let spec = spec::parse(&super::step(&format!("error_rate > {text}"), "page ops")).unwrap().spec;
            spec.causes[1].condition.clone()
        };
        prop_assert_eq!(literal(&format!("{percent} %")), literal(&ratio));
    }
}
