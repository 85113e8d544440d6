//! A finding as people read it, in the manner of rustc: place, message, the line, a caret, what to write instead.
//! Called by the commands that check or register specs.

use std::fmt::Write;

use super::{Finding, Severity, secret};

const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const CYAN: &str = "\u{1b}[1;36m";
const BLUE: &str = "\u{1b}[1;34m";
const RESET: &str = "\u{1b}[0m";

/// The most characters of a line that are shown; longer ones are cut around the caret.
const WIDTH: usize = 160;

/// Renders one finding of `text`, with a line break at the end.
///
/// Nothing of the text reaches the terminal raw: control characters and those that turn the direction of writing
/// are shown as escapes, credentials as `*`.
pub fn render(file_name: &str, text: &str, finding: &Finding, colour: bool) -> String {
    let paint = |code: &'static str| if colour { code } else { "" };
    let reset = paint(RESET);
    let (kind, kind_colour) = match finding.severity {
        Severity::Error => ("error", paint(RED)),
        Severity::Warning => ("warning", paint(YELLOW)),
    };
    let (file, line, column) = (harmless(file_name), finding.line, finding.column);
    let mut shown = format!("{file}:{line}:{column}: {kind_colour}{kind}{reset}: {}\n", harmless(&finding.message));
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let bar = paint(BLUE);
    let (source, caret) = excerpt(lines(text).nth(line.saturating_sub(1)).unwrap_or_default(), column);
    // Writing to a string cannot fail.
    let _ = writeln!(shown, "{bar}{margin} |{reset}");
    let _ = writeln!(shown, "{bar}{number} |{reset} {source}");
    let _ = writeln!(shown, "{bar}{margin} |{reset} {}{kind_colour}^{reset}", " ".repeat(caret));
    if let Some(help) = &finding.help {
        let _ = writeln!(shown, "{bar}{margin} ={reset} {}help{reset}: {}", paint(CYAN), harmless(help));
    }
    shown
}

/// `text` without anything that a terminal would act on.
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push_harmless(&mut shown, c);
    }
    shown
}

/// Appends `c` or its escape; gives the number of characters appended.
fn push_harmless(shown: &mut String, c: char) -> usize {
    let hidden = c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    if !hidden {
        shown.push(c);
        return 1;
    }
    let escape = c.escape_unicode();
    let length = escape.len();
    shown.extend(escape);
    length
}

/// The lines of the text as YAML counts them: ended by LF, CR LF or CR alone; without a byte order mark.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text.strip_prefix('\u{feff}').unwrap_or(text));
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            return rest.take();
        };
        let length = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + length..]);
        Some(&text[..end])
    })
}

/// The YAML parser puts what is missing at the end of a text without a last line break on a line that is not there: the
/// place is behind the last character then.
pub(super) fn keep_within(text: &str, finding: &mut Finding) {
    let (mut last, mut length) = (1, 0);
    for (number, line) in (1..=finding.line).zip(lines(text)) {
        (last, length) = (number, line.chars().count());
    }
    finding.column = if last < finding.line { length + 1 } else { finding.column.min(length + 1) };
    finding.line = last;
}

/// The part of a line around a column as it is shown, and how many characters stand before the caret.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    let masked = secret::masked(line);
    let length = masked.chars().count();
    let column = column.saturating_sub(1).min(length);
    let start = if length <= WIDTH { 0 } else { column.saturating_sub(WIDTH / 2).min(length - WIDTH) };
    let mut shown = String::new();
    let mut caret = 0;
    if start > 0 {
        shown.push_str("... ");
        caret += 4;
    }
    for (index, c) in masked.chars().enumerate().skip(start).take(WIDTH) {
        // A tab is one column of the file; shown as one blank it keeps the caret in place.
        let pushed = push_harmless(&mut shown, if c == '\t' { ' ' } else { c });
        if index < column {
            caret += pushed;
        }
    }
    if length > start + WIDTH {
        shown.push_str(" ...");
    }
    (shown, caret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(line: usize, column: usize) -> Finding {
        let (message, help) = ("unknown unit `x`".to_owned(), Some("write `ratio`".to_owned()));
        Finding { severity: Severity::Error, line, column, message, help }
    }

    #[test]
    fn the_caret_stands_under_the_column() {
        let shown = render("a.ops.yaml", "id: a\r\nunit: x\r\n", &finding(2, 7), false);
        let expected =
            "a.ops.yaml:2:7: error: unknown unit `x`\n  |\n2 | unit: x\n  |       ^\n  = help: write `ratio`\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn nothing_of_the_text_reaches_the_terminal_raw() {
        let text = "a: \u{1b}[31m\u{202e}x\u{7}\n";
        let shown = render("\u{1b}]0;x", text, &finding(1, 9), false);
        assert!(shown.contains("\\u{1b}[31m\\u{202e}x"), "{shown}");
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        let caret = shown.lines().nth(3).unwrap().find('^').unwrap();
        let source = shown.lines().nth(2).unwrap();
        assert_eq!(&source[caret..caret + 8], "\\u{202e}");
    }

    #[test]
    fn a_place_outside_the_text_is_no_panic() {
        for (line, column) in [(0, 0), (9, 9), (1, 999)] {
            assert!(render("f", "\u{feff}a: b", &finding(line, column), true).contains('^'));
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("{}X{}", "a".repeat(5_000), "b".repeat(5_000));
        let shown = render("f", &text, &finding(1, 5_001), false);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[2].len() < 200);
        assert_eq!(lines[2].as_bytes()[lines[3].find('^').unwrap()], b'X');
    }
}
