//! Readings as JSON: `{"service":..,"sensor":..,"ts":..,"value":..,"attributes":{..}}`, so that any Kafka client
//! can emit. Called by [`super::reading`] alone.
//!
//! The grammar is checked first, without recursion; then the members are taken one by one as slices of the
//! text, so that a number can be judged as it is written (`1e999` is no number for a parser) and a field
//! that is doubled is seen. Unknown fields are ignored. `null` is the same as not there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::reading::Parsed;
use crate::model::reading::{Attributes, RejectReason};

/// Deepest nesting, in fields that nobody knows.
const MAX_DEPTH: usize = 64;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `value` without a byte order mark and white space before it.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let text = value.strip_prefix(BYTE_ORDER_MARK).unwrap_or(value);
    &text[text.iter().take_while(|byte| is_space(**byte)).count()..]
}

/// Reads one object. `text` begins with `{`.
pub(super) fn parse(text: &[u8]) -> Result<Parsed<'_>, RejectReason> {
    check_grammar(text)?;
    if depth(text) > MAX_DEPTH {
        return Err(RejectReason::Malformed);
    }
    read(text).ok_or(RejectReason::Malformed)
}

/// Is it one whole JSON value?
fn check_grammar(text: &[u8]) -> Result<(), RejectReason> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    match IgnoredAny::deserialize(&mut parser) {
        Ok(_) => parser.end().map_err(|_| RejectReason::TrailingBytes),
        Err(error) if error.is_eof() || ends_in_a_number(text) => Err(RejectReason::Truncated),
        Err(_) => Err(RejectReason::Malformed),
    }
}

/// A number that is cut off (`-`, `1.`, `1e`) is a wrong number for the parser. It is cut off if one more
/// digit brings the parser to the end of the text.
fn ends_in_a_number(text: &[u8]) -> bool {
    let longer = [text, b"0"].concat();
    serde_json::from_slice::<IgnoredAny>(&longer).is_err_and(|error| error.is_eof())
}

/// Deepest nesting of a text whose grammar holds.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn read(text: &[u8]) -> Option<Parsed<'_>> {
    let fields = members(text)?;
    let get = |name: &str| fields.get(name).copied().filter(|token| *token != b"null");
    let ts = match get("ts") {
        Some(token) => Some(std::str::from_utf8(token).ok()?.parse().ok()?),
        None => None,
    };
    let attributes = match get("attributes") {
        Some(token) if token.starts_with(b"{") => {
            members(token)?.into_iter().map(|(name, token)| Some((name, string(token)?))).collect::<Option<_>>()?
        }
        Some(_) => return None,
        None => Attributes::new(),
    };
    Some(Parsed {
        service: optional_string(get("service"))?,
        sensor: optional_string(get("sensor"))?,
        ts,
        value: number(get("value")?)?,
        attributes,
    })
}

/// The outer `None`: there is something, but no text.
fn optional_string(token: Option<&[u8]>) -> Option<Option<Cow<'_, str>>> {
    match token {
        Some(token) => string(token).map(Some),
        None => Some(None),
    }
}

/// Text, borrowed where nothing in it is escaped.
fn string(token: &[u8]) -> Option<Cow<'_, str>> {
    match token {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        _ => serde_json::from_slice(token).ok().map(Cow::Owned),
    }
}

/// The value: what is too large for a double becomes an infinity, and what clients write for values that
/// JSON cannot hold is taken as meant, so that both are refused for what they are.
fn number(token: &[u8]) -> Option<f64> {
    match token {
        b"\"NaN\"" => Some(f64::NAN),
        b"\"Infinity\"" => Some(f64::INFINITY),
        b"\"-Infinity\"" => Some(f64::NEG_INFINITY),
        [b'-' | b'0'..=b'9', ..] => std::str::from_utf8(token).ok()?.parse().ok(),
        _ => None,
    }
}

/// The members of an object whose grammar holds, each value as it is written. `None` if a name is doubled or
/// no text.
fn members(text: &[u8]) -> Option<BTreeMap<Cow<'_, str>, &[u8]>> {
    let mut members = BTreeMap::new();
    let mut rest = skip_space(text).strip_prefix(b"{")?;
    loop {
        rest = skip_space(rest);
        if rest.starts_with(b"}") {
            return Some(members);
        }
        rest = rest.strip_prefix(b",").unwrap_or(rest);
        let name = token(&mut rest)?;
        rest = skip_space(rest).strip_prefix(b":")?;
        let value = token(&mut rest)?;
        if members.insert(string(name)?, value).is_some() {
            return None;
        }
    }
}

/// Takes the next value off `rest`, without the white space around it.
fn token<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let text = skip_space(rest);
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (token, after) = text.split_at_checked(values.byte_offset())?;
    *rest = after;
    Some(token)
}

fn skip_space(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|byte| is_space(**byte)).count()..]
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_whole_form_is_read_and_unknown_fields_are_not() {
        let text = r#"{ "service" : "s", "sen\u0073or":"q", "ts": 17, "x": [{"value": 3}, "}\""],
                         "value": 1.5e1 , "attributes": {"pod": "a\n", "é": ""} } "#;
        let attributes = [("pod", "a\n"), ("é", "")].map(|(k, v)| (k.into(), v.into())).into();
        let read =
            Parsed { service: Some("s".into()), sensor: Some("q".into()), ts: Some(17), value: 15.0, attributes };
        assert_eq!(parse(text.as_bytes()), Ok(read));
    }

    #[test]
    fn null_is_the_same_as_not_there() {
        let read = parse(br#"{"service":null,"sensor":null,"ts":null,"attributes":null,"value":1}"#);
        assert_eq!(read, Ok(Parsed { value: 1.0, ..Parsed::default() }));
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_text_do_not_nest() {
        let nested = |depth: usize| format!(r#"{{"value":1,"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(parse(nested(MAX_DEPTH).as_bytes()), Err(RejectReason::Malformed));
        assert!(parse(format!(r#"{{"value":1,"x":"\"{}"}}"#, "[".repeat(999)).as_bytes()).is_ok());
    }

    proptest! {
        /// serde_json's own tree, where it can build one, has the same members.
        #[test]
        fn members_are_those_of_serde_json(names in prop::collection::vec(".{0,6}", 0..6), pad in "[ \n\t]{0,3}") {
            let object: serde_json::Map<_, _> =
                names.iter().map(|name| (name.clone(), serde_json::json!([name, {"n": 1.5}]))).collect();
            let text = serde_json::to_string_pretty(&object).unwrap() + &pad;
            let found: serde_json::Map<_, _> = members(text.as_bytes())
                .unwrap()
                .into_iter()
                .map(|(name, token)| (name.into_owned(), serde_json::from_slice(token).unwrap()))
                .collect();
            prop_assert_eq!(found, object);
        }
    }
}
