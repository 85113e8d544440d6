//! The grammar of the playbook, by recursive descent over tokens. Knows words, not specs: whether a name is a
//! sensor or a verb exists is checked by its callers ([`super::playbook`], [`super::verbs`]).
//!
//! ```text
//! condition  = "slo_breach" | "recovered" | "still_breach_after" duration | "no_data" [ "for" duration ]
//!            | event | comparison [ "for" duration ]
//! comparison = sensor ( ">" | ">=" | "<" | "<=" ) literal
//! action     = call { "&" call }
//! call       = verb [ object ] { [","] key ( "=" | "=+" | "=-" ) literal } | "throttle traffic" percent
//! literal    = number [unit] | percent | money | name
//! percent    = number "%"     money = "$" number     duration = number [ "ms"|"s"|"sec"|"m"|"min"|"h"|"d" ]
//! ```

pub(super) use super::lexer::SyntaxError;
use super::lexer::{Kind, Token, tokens};
use super::number::{Decimal, SECONDS, TIME_UNITS, duration_ms, time_unit};
use crate::model::spec::Comparison;

/// The words that are conditions by themselves.
pub(super) const KEYWORDS: [&str; 4] = ["slo_breach", "recovered", "still_breach_after", "no_data"];

/// A condition as written. Durations in ms.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition<'t> {
    SloBreach,
    Recovered,
    StillBreachAfter { after_ms: i64, after_at: usize },
    NoData { for_ms: i64 },
    Event(Name<'t>),
    Comparison { sensor: Name<'t>, op: Comparison, literal: Literal<'t>, for_ms: i64 },
}

/// A name and which character of the text it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'t> {
    pub text: &'t str,
    pub at: usize,
}

/// A value and which character of the text it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal<'t> {
    pub at: usize,
    /// As written (of percent and money the number alone).
    pub text: &'t str,
    pub kind: LiteralKind<'t>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LiteralKind<'t> {
    /// A number, with the name of a unit or `""`.
    Number(Decimal, &'t str),
    Percent(Decimal),
    /// US dollars.
    Money(Decimal),
    Name,
}

/// One call as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call<'t> {
    pub verb: Name<'t>,
    pub object: Option<Name<'t>>,
    /// The percent of `throttle traffic 20 %`.
    pub percent: Option<Literal<'t>>,
    pub args: Vec<Arg<'t>>,
}

/// `key = literal`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arg<'t> {
    pub key: Name<'t>,
    pub sign: Sign,
    pub value: Literal<'t>,
}

/// `=`, `=+` or `=-`; a sign at the number itself counts as the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    None,
    Plus,
    Minus,
}

/// Reads the text of an `if:`.
pub(super) fn condition(text: &str) -> Result<Condition<'_>, SyntaxError> {
    let mut parser = Cursor::new(text)?;
    let name = parser.name("a condition")?;
    let condition = match name.text {
        "slo_breach" => Condition::SloBreach,
        "recovered" => Condition::Recovered,
        "still_breach_after" => {
            let after_at = parser.at();
            Condition::StillBreachAfter { after_ms: parser.duration()?, after_at }
        }
        "no_data" => Condition::NoData { for_ms: parser.optional_for()? },
        _ => match parser.comparison()? {
            None if parser.peek().is_none() => Condition::Event(name),
            None if parser.peek().is_some_and(|token| token.text == "for") => {
                let help = "a comparison or `no_data` can be held, an event cannot";
                return Err(SyntaxError::new(parser.at(), "`for` without a comparison", Some(help)));
            }
            None => return Err(parser.unexpected("`>`, `>=`, `<` or `<=`")),
            Some(op) => {
                let literal = parser.literal()?;
                let for_ms = parser.optional_for()?;
                Condition::Comparison { sensor: name, op, literal, for_ms }
            }
        },
    };
    match parser.peek() {
        None => Ok(condition),
        Some(token) if token.text == "for" && matches!(condition, Condition::SloBreach) => {
            let help = "the SLO's `for` is a field of `slo:`";
            Err(SyntaxError::new(token.at, "`slo_breach` takes no `for` here", Some(help)))
        }
        Some(_) => Err(parser.unexpected("the end of the condition")),
    }
}

/// Reads the text of a `then:`.
pub(super) fn action(text: &str) -> Result<Vec<Call<'_>>, SyntaxError> {
    let mut parser = Cursor::new(text)?;
    let mut calls = vec![parser.call()?];
    while parser.take("&").is_some() {
        calls.push(parser.call()?);
    }
    match parser.peek() {
        None => Ok(calls),
        Some(_) => Err(parser.unexpected("`key=value`, `&` or the end of the action")),
    }
}

/// Reads a text that is one duration, ms.
pub(super) fn duration(text: &str) -> Result<i64, SyntaxError> {
    let mut parser = Cursor::new(text)?;
    let ms = parser.duration()?;
    match parser.peek() {
        None => Ok(ms),
        Some(_) => Err(parser.unexpected("the end of the duration")),
    }
}

/// The tokens and how far they were read.
struct Cursor<'t> {
    tokens: Vec<Token<'t>>,
    next: usize,
    end: usize,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Result<Self, SyntaxError> {
        // A block scalar ends with a line break, which is not part of the expression.
        let end = text.trim_end().len();
        Ok(Self { tokens: tokens(&text[..end])?, next: 0, end: text[..end].chars().count() })
    }

    fn peek(&self) -> Option<&Token<'t>> {
        self.tokens.get(self.next)
    }

    /// Where the next token stands, or the end.
    fn at(&self) -> usize {
        self.peek().map_or(self.end, |token| token.at)
    }

    fn take(&mut self, symbol: &str) -> Option<Token<'t>> {
        let token = self.peek().filter(|token| token.text == symbol).cloned()?;
        self.next += 1;
        Some(token)
    }

    fn unexpected(&self, expected: &str) -> SyntaxError {
        match self.peek() {
            Some(token) => SyntaxError::new(token.at, format!("expected {expected}, found `{}`", token.text), None),
            None => SyntaxError::new(self.end, format!("expected {expected}, found the end"), None),
        }
    }

    fn name(&mut self, expected: &str) -> Result<Name<'t>, SyntaxError> {
        match self.peek() {
            Some(Token { at, text, kind: Kind::Word }) => {
                let name = Name { text, at: *at };
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    fn number(&mut self, expected: &str) -> Result<(Decimal, &'t str, Token<'t>), SyntaxError> {
        match self.peek().cloned() {
            Some(token @ Token { kind: Kind::Number { number, unit }, .. }) => {
                self.next += 1;
                Ok((number, unit, token))
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    fn comparison(&mut self) -> Result<Option<Comparison>, SyntaxError> {
        let op = match self.peek() {
            Some(Token { text: ">", .. }) => Comparison::Above,
            Some(Token { text: ">=", .. }) => Comparison::AtLeast,
            Some(Token { text: "<", .. }) => Comparison::Below,
            Some(Token { text: "<=", .. }) => Comparison::AtMost,
            Some(Token { text: "=" | "=+" | "=-", at, .. }) => {
                let help = "comparisons are `>`, `>=`, `<` and `<=`";
                return Err(SyntaxError::new(*at, "`=` compares nothing", Some(help)));
            }
            _ => return Ok(None),
        };
        self.next += 1;
        Ok(Some(op))
    }

    fn optional_for(&mut self) -> Result<i64, SyntaxError> {
        if self.take("for").is_some() { self.duration() } else { Ok(0) }
    }

    fn duration(&mut self) -> Result<i64, SyntaxError> {
        let (number, attached, token) = self.number("a duration such as `60`, `90 s` or `5 min`")?;
        let unit = if attached.is_empty() { self.unit() } else { Some((attached, unit_at(&token, attached))) };
        let unit = match unit {
            None => SECONDS,
            Some((name, at)) => time_unit(name).ok_or_else(|| unknown_unit(name, at))?,
        };
        duration_ms(number, unit).map_err(|error| SyntaxError::new(token.at, error.to_string(), None))
    }

    /// The name of a unit that stands apart from its number: any word but `for`.
    fn unit(&mut self) -> Option<(&'t str, usize)> {
        let unit = match self.peek() {
            Some(Token { at, text, kind: Kind::Word }) if *text != "for" => (*text, *at),
            _ => return None,
        };
        self.next += 1;
        Some(unit)
    }

    /// The literal of a comparison: a number with a unit, percent, money, or a name (refused later).
    fn literal(&mut self) -> Result<Literal<'t>, SyntaxError> {
        let mut literal = self.value()?;
        if let LiteralKind::Number(number, "") = literal.kind
            && let Some((unit, _)) = self.unit()
        {
            literal.kind = LiteralKind::Number(number, unit);
        }
        Ok(literal)
    }

    /// A value whose unit, if any, is attached to it.
    fn value(&mut self) -> Result<Literal<'t>, SyntaxError> {
        let at = self.at();
        if self.take("$").is_some() {
            let (number, unit, token) = self.number("an amount of dollars")?;
            if !unit.is_empty() {
                let message = format!("unknown amount `${}`", token.text);
                return Err(SyntaxError::new(at, message, Some("write all digits, such as `$1500`")));
            }
            return Ok(Literal { at, text: token.text, kind: LiteralKind::Money(number) });
        }
        match self.peek().cloned() {
            Some(Token { text, kind: Kind::Number { number, unit }, .. }) => {
                self.next += 1;
                if unit.is_empty() && self.take("%").is_some() {
                    return Ok(Literal { at, text, kind: LiteralKind::Percent(number) });
                }
                Ok(Literal { at, text, kind: LiteralKind::Number(number, unit) })
            }
            Some(Token { text, kind: Kind::Word, .. }) => {
                self.next += 1;
                Ok(Literal { at, text, kind: LiteralKind::Name })
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    fn call(&mut self) -> Result<Call<'t>, SyntaxError> {
        let verb = self.name("a verb")?;
        let mut call = Call { verb, object: None, percent: None, args: Vec::new() };
        if self.is_object() {
            let token = &self.tokens[self.next];
            call.object = Some(Name { text: token.text, at: token.at });
            self.next += 1;
            if call.object.is_some_and(|object| object.text == "traffic")
                && matches!(self.peek(), Some(Token { kind: Kind::Number { .. }, .. }))
            {
                call.percent = Some(self.value()?);
            }
        }
        loop {
            let comma = self.take(",").is_some();
            if !comma && !matches!(self.peek(), Some(Token { kind: Kind::Word, .. })) {
                return Ok(call);
            }
            let arg = self.arg()?;
            if call.args.iter().any(|other| other.key.text == arg.key.text) {
                let message = format!("`{}` is given twice", arg.key.text);
                return Err(SyntaxError::new(arg.key.at, message, Some("remove one of them")));
            }
            call.args.push(arg);
        }
    }

    /// Is the next token an object, that is a name (or a channel of digits) that no `=` follows?
    fn is_object(&self) -> bool {
        let name = matches!(self.peek(), Some(Token { kind: Kind::Word | Kind::Number { .. }, .. }));
        name && !matches!(self.tokens.get(self.next + 1), Some(Token { text: "=" | "=+" | "=-", .. }))
    }

    fn arg(&mut self) -> Result<Arg<'t>, SyntaxError> {
        let key = self.name("`key=value`")?;
        let sign = match self.peek().map(|token| token.text) {
            Some("=") => Sign::None,
            Some("=+") => Sign::Plus,
            Some("=-") => Sign::Minus,
            _ => return Err(self.unexpected(&format!("`=` after `{}`", key.text))),
        };
        self.next += 1;
        let value = self.value()?;
        let sign = match (sign, value.text.as_bytes().first()) {
            (Sign::None, Some(b'+')) => Sign::Plus,
            (Sign::None, Some(b'-')) => Sign::Minus,
            (_, Some(b'+' | b'-')) => {
                return Err(SyntaxError::new(value.at, "two signs", Some("write one, such as `compute=+2`")));
            }
            (sign, _) => sign,
        };
        Ok(Arg { key, sign, value })
    }
}

fn unit_at(token: &Token<'_>, unit: &str) -> usize {
    token.at + token.text.len() - unit.len()
}

/// The error for a unit of time that there is not.
pub(super) fn unknown_unit(name: &str, at: usize) -> SyntaxError {
    let help = match name {
        "M" => "a month or a minute? write `min`, or days".to_owned(),
        "y" => "a year? write days, such as `90 d`".to_owned(),
        _ => format!("units of time: {}", TIME_UNITS.join(", ")),
    };
    SyntaxError { at, message: format!("unknown unit of time `{name}`"), help: Some(help) }
}
