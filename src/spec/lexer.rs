//! Text of a condition or an action -> tokens that know where they stand. Called by [`super::grammar`].

use super::number::Decimal;

/// A mistake inside a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Which character of the text, from 0.
    pub at: usize,
    pub message: String,
    pub help: Option<String>,
}

impl SyntaxError {
    pub fn new(at: usize, message: impl Into<String>, help: Option<&str>) -> Self {
        Self { at, message: message.into(), help: help.map(str::to_owned) }
    }
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    /// Which character of the text it begins with, from 0.
    pub at: usize,
    /// As written.
    pub text: &'t str,
    pub kind: Kind<'t>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'t> {
    /// A name: letters, digits, `_`, `.`, `:`, `-`.
    Word,
    /// A decimal and the letters that follow it at once: `60`, `5min`, `-0.5`.
    Number { number: Decimal, unit: &'t str },
    /// `>` `>=` `<` `<=` `=` `=+` `=-` `&` `,` `%` `$`
    Symbol,
}

/// Splits `text`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, SyntaxError> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut at = 0;
    while let Some(first) = rest.chars().next() {
        if matches!(first, ' ' | '\t') {
            rest = &rest[1..];
            at += 1;
            continue;
        }
        let (length, kind) = match symbol_length(rest) {
            Some(length) => (length, Kind::Symbol),
            None => {
                let length = run_length(rest);
                if length == 0 {
                    return Err(stray(at, first, rest));
                }
                (length, run_kind(&rest[..length]))
            }
        };
        let text = &rest[..length];
        found.push(Token { at, text, kind });
        at += text.chars().count();
        rest = &rest[length..];
    }
    Ok(found)
}

fn symbol_length(rest: &str) -> Option<usize> {
    if ["==", "!=", "=>", "=<", "<>", "&&"].iter().any(|wrong| rest.starts_with(wrong)) {
        return None;
    }
    ["=+", "=-", ">=", "<=", ">", "<", "=", "&", ",", "%", "$"]
        .iter()
        .find(|symbol| rest.starts_with(**symbol))
        .map(|symbol| symbol.len())
}

/// Bytes of the number or name that `rest` begins with (both are ASCII).
fn run_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let signed = matches!(bytes, [b'+' | b'-', digit, ..] if digit.is_ascii_digit());
    let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    let skip = usize::from(signed);
    match bytes[skip..].first() {
        Some(first) if first.is_ascii_alphanumeric() || matches!(first, b'_' | b':' | b'.') => {
            skip + bytes[skip..].iter().take_while(|b| part(b)).count()
        }
        _ => 0,
    }
}

/// A run is a number if it is a decimal and then letters only, else a name.
fn run_kind(run: &str) -> Kind<'_> {
    let end = run.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
    match Decimal::parse(&run[..end]) {
        Some(number) => Kind::Number { number, unit: &run[end..] },
        None => Kind::Word,
    }
}

fn stray(at: usize, first: char, rest: &str) -> SyntaxError {
    let help = match first {
        '\n' | '\r' => return SyntaxError::new(at, "a line break inside an expression", Some("write it on one line")),
        '!' | '=' | '<' => "comparisons are `>`, `>=`, `<` and `<=`",
        '&' if rest.starts_with("&&") => "calls are joined with one `&`",
        ';' | '|' => "calls are joined with `&`",
        '+' | '-' => "write the sign at the number, such as `compute=+2`",
        _ => "names have letters, digits, `_`, `.`, `:` and `-`",
    };
    let wrong: String = match first {
        '=' | '!' | '<' | '&' => rest.chars().take(2).collect(),
        _ => first.to_string(),
    };
    SyntaxError::new(at, format!("`{wrong}` has no meaning here"), Some(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        tokens(text).unwrap().into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn tokens_need_no_blanks_between_them() {
        assert_eq!(texts("z>=5"), ["z", ">=", "5"]);
        assert_eq!(texts("compute=+2"), ["compute", "=+", "2"]);
        assert_eq!(texts("compute =+ 2"), ["compute", "=+", "2"]);
        assert_eq!(texts("compute = +2"), ["compute", "=", "+2"]);
        assert_eq!(texts("cost_hourly > $500 for 5min"), ["cost_hourly", ">", "$", "500", "for", "5min"]);
        assert_eq!(texts("page channel=tsa_ops, severity=critical & isolate pod").len(), 11);
    }

    #[test]
    fn a_number_with_other_signs_in_it_is_a_name() {
        for name in ["24x7", "1.2.3", "60.", ".5", "1e5", "10.0.0.1"] {
            assert_eq!(tokens(name).unwrap()[0].kind, Kind::Word, "{name}");
        }
    }

    #[test]
    fn a_stray_character_is_named_with_its_place() {
        for (text, at) in [("z ≥ 5", 2), ("z == 5", 2), ("a && b", 2), ("page <!channel>", 6), ("a\nb", 1), ("é", 0)]
        {
            assert_eq!(tokens(text).unwrap_err().at, at, "{text}");
        }
    }
}
