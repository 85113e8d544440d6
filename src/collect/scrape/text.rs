//! Pages of metrics -> samples: the Prometheus text format 0.0.4 and OpenMetrics 1.0. Pure; called by [`super::job`].
//!
//! Strict where a mistake could become a reading: names, labels, escapes, numbers, time stamps, exemplars, `# EOF`. A
//! line that breaks a rule breaks the page, for nobody knows what else is wrong with it. Lenient where it cannot: blanks,
//! CR LF, blank lines, no line break at the end, comments. All of the page is read, and only samples that somebody wants
//! are kept; what is kept is bounded, whatever the page says.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Lines that are samples: more is no page of one service.
const MAX_SAMPLES: usize = 1_000_000;
/// Samples that are kept, and families whose type is.
const MAX_KEPT: usize = 100_000;
/// Labels of one sample.
const MAX_LABELS: usize = 128;
/// Characters of a page that an error repeats.
const EXCERPT: usize = 40;

/// By which rules a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`.
    Plain,
    /// `application/openmetrics-text`.
    OpenMetrics,
}

/// What a family says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counters by upper bound.
    Histogram,
    /// Quantiles worked out by the target.
    Summary,
    /// `untyped`, `unknown`, `info`, `stateset`, `gaugehistogram`.
    Other,
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'p> {
    /// As it stands on the page.
    pub name: &'p str,
    /// In page order, each name once.
    pub labels: Vec<(&'p str, Cow<'p, str>)>,
    /// NaN and infinities included.
    pub value: f64,
    /// As the page says, ms since the epoch.
    pub timestamp_ms: Option<i64>,
}

impl Sample<'_> {
    /// The value of a label; one that is not there is as good as empty.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| *label == name).map_or("", |(_, value)| value)
    }
}

/// A page without mistakes.
#[derive(Debug, Default)]
pub struct Page<'p> {
    /// Those that were wanted, in page order.
    pub samples: Vec<Sample<'p>>,
    /// How many there are on the page, wanted or not.
    pub total: usize,
    kinds: HashMap<&'p str, Kind>,
}

impl Page<'_> {
    /// What the family of a sample says it is: `requests_total` may belong to `requests`, `latency_bucket` to `latency`.
    pub fn kind(&self, sample: &str) -> Option<Kind> {
        let stripped = ["_total", "_bucket", "_count", "_sum"].iter().find_map(|suffix| sample.strip_suffix(suffix));
        self.kinds.get(sample).or_else(|| self.kinds.get(stripped?)).copied()
    }
}

/// Why a page is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// 1-based.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Reads a whole page, and keeps the samples whose name is `wanted`.
pub fn parse<'p>(text: &'p str, format: Format, wanted: impl Fn(&str) -> bool) -> Result<Page<'p>, Broken> {
    let mut page = Page::default();
    let mut is_over = false;
    let mut last = 0;
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line).trim_matches([' ', '\t']);
        if line.is_empty() {
            continue;
        }
        last = index + 1;
        let broken = |what: String| Broken { line: index + 1, what };
        if is_over {
            return Err(broken("something follows `# EOF`".to_owned()));
        }
        if let Some(comment) = line.strip_prefix('#') {
            is_over = format == Format::OpenMetrics && comment == " EOF";
            read_comment(&mut page, comment).map_err(broken)?;
            continue;
        }
        page.total += 1;
        let sample = read_sample(line, format).map_err(broken)?;
        if wanted(sample.name) {
            page.samples.push(sample);
        }
        if page.total > MAX_SAMPLES || page.samples.len() > MAX_KEPT {
            return Err(broken("more samples than a page may have".to_owned()));
        }
    }
    if format == Format::OpenMetrics && !is_over {
        return Err(Broken { line: last, what: "the page ends without `# EOF`: it was cut off".to_owned() });
    }
    Ok(page)
}

/// `# TYPE family kind`; all other comments are for people.
fn read_comment<'p>(page: &mut Page<'p>, comment: &'p str) -> Result<(), String> {
    let mut words = comment.split([' ', '\t']).filter(|word| !word.is_empty());
    if words.next() != Some("TYPE") {
        return Ok(());
    }
    let (Some(family), Some(kind), None) = (words.next(), words.next(), words.next()) else {
        return Err("`# TYPE` needs a name and a type".to_owned());
    };
    if name_length(family, true) != family.len() {
        return Err(format!("`{}` is no name of a metric", excerpt(family)));
    }
    let kind = match kind {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "summary" => Kind::Summary,
        "untyped" | "unknown" | "info" | "stateset" | "gaugehistogram" => Kind::Other,
        other => return Err(format!("`{}` is no type of a metric", excerpt(other))),
    };
    if page.kinds.insert(family, kind).is_some() {
        return Err(format!("a second `# TYPE` of {}", excerpt(family)));
    }
    if page.kinds.len() > MAX_KEPT { Err("more metrics than a page may have".to_owned()) } else { Ok(()) }
}

fn read_sample(line: &str, format: Format) -> Result<Sample<'_>, String> {
    let mut rest = line;
    let name = take(&mut rest, name_length(line, true));
    if name.is_empty() {
        return Err(format!("`{}` is no sample", excerpt(line)));
    }
    let behind_name = rest;
    skip_blanks(&mut rest);
    let labels = match rest.strip_prefix('{') {
        Some(behind) => read_labels(behind, &mut rest)?,
        None if rest.len() == behind_name.len() => {
            return Err(format!("`{}` is no name of a metric", excerpt(line)));
        }
        None => Vec::new(),
    };
    let value = number(word(&mut rest))?;
    let has_timestamp = !(rest.is_empty() || rest.starts_with('#'));
    let timestamp_ms = has_timestamp.then(|| timestamp(word(&mut rest), format)).transpose()?;
    if !rest.is_empty() {
        match rest.strip_prefix('#') {
            Some(exemplar) if format == Format::OpenMetrics => check_exemplar(exemplar)?,
            _ => return Err(format!("`{}` after the sample", excerpt(rest))),
        }
    }
    Ok(Sample { name, labels, value, timestamp_ms })
}

/// ` {trace_id="x"} 0.5 [time stamp]`: checked, and of no use to us.
fn check_exemplar(text: &str) -> Result<(), String> {
    let mut rest = text;
    skip_blanks(&mut rest);
    let Some(behind) = rest.strip_prefix('{') else { return Err("an exemplar without labels".to_owned()) };
    read_labels(behind, &mut rest)?;
    number(word(&mut rest))?;
    if !rest.is_empty() {
        timestamp(word(&mut rest), Format::OpenMetrics)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(format!("`{}` after the exemplar", excerpt(rest))) }
}

/// What stands after `{`; what is behind `}` goes to `rest`.
fn read_labels<'p>(text: &'p str, rest: &mut &'p str) -> Result<Vec<(&'p str, Cow<'p, str>)>, String> {
    let mut labels: Vec<(&str, Cow<'_, str>)> = Vec::new();
    let mut at = text;
    loop {
        skip_blanks(&mut at);
        if let Some(behind) = at.strip_prefix('}') {
            *rest = behind;
            skip_blanks(rest);
            return Ok(labels);
        }
        let length = name_length(at, false);
        let name = take(&mut at, length);
        if name.is_empty() {
            return Err(format!("`{}` is no name of a label", excerpt(at)));
        }
        if labels.iter().any(|(other, _)| *other == name) {
            return Err(format!("the label {} twice", excerpt(name)));
        }
        if labels.len() >= MAX_LABELS {
            return Err(format!("more than {MAX_LABELS} labels"));
        }
        skip_blanks(&mut at);
        at = at.strip_prefix('=').ok_or_else(|| format!("no `=` after the label {}", excerpt(name)))?;
        skip_blanks(&mut at);
        at = at.strip_prefix('"').ok_or_else(|| format!("the value of {} has no quotes", excerpt(name)))?;
        labels.push((name, quoted(&mut at)?));
        skip_blanks(&mut at);
        match at.strip_prefix(',') {
            Some(behind) => at = behind,
            None if at.starts_with('}') => {}
            None => return Err(format!("no `,` or `}}` after the label {}", excerpt(name))),
        }
    }
}

/// Up to the closing quote.
fn quoted<'p>(at: &mut &'p str) -> Result<Cow<'p, str>, String> {
    let mut value = Cow::Borrowed("");
    loop {
        let end = at.find(['"', '\\']).ok_or("a text without a closing quote")?;
        let plain = take(at, end);
        if value.is_empty() {
            value = Cow::Borrowed(plain);
        } else {
            value.to_mut().push_str(plain);
        }
        if let Some(behind) = at.strip_prefix('"') {
            *at = behind;
            return Ok(value);
        }
        let escaped = match at.as_bytes().get(1) {
            Some(b'\\') => '\\',
            Some(b'"') => '"',
            Some(b'n') => '\n',
            _ => return Err("a backslash before something else than `\\`, `\"` or `n`".to_owned()),
        };
        value.to_mut().push(escaped);
        *at = &at[2..];
    }
}

/// A number as Go writes it. What does not fit into a binary64 is a mistake, not an infinity.
pub fn number(text: &str) -> Result<f64, String> {
    let wrong = |what: &str| format!("`{}` {what}", excerpt(text));
    let value: f64 = text.parse().map_err(|_| wrong("is no number"))?;
    if value.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) {
        return Err(wrong("is larger than any number"));
    }
    Ok(value)
}

/// ms of a whole number of them, or of seconds with a fraction.
fn timestamp(text: &str, format: Format) -> Result<i64, String> {
    let wrong = || format!("`{}` is no time stamp", excerpt(text));
    match format {
        Format::Plain => text.parse().map_err(|_| wrong()),
        Format::OpenMetrics => {
            let ms = (number(text).map_err(|_| wrong())? * 1e3).round();
            // Beyond it not every whole number is one of binary64.
            if ms.abs() <= 9e15 { Ok(ms as i64) } else { Err(wrong()) }
        }
    }
}

/// Bytes of the name at the beginning of `text`; of a metric it may hold colons.
fn name_length(text: &str, is_metric: bool) -> usize {
    let is_first = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (is_metric && b == b':');
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(&first) if is_first(first) => {
            bytes.iter().position(|&b| !(is_first(b) || b.is_ascii_digit())).unwrap_or(bytes.len())
        }
        _ => 0,
    }
}

/// Cuts `length` bytes off.
fn take<'p>(rest: &mut &'p str, length: usize) -> &'p str {
    let (taken, behind) = rest.split_at(length);
    *rest = behind;
    taken
}

fn skip_blanks(rest: &mut &str) {
    *rest = rest.trim_start_matches([' ', '\t']);
}

/// Up to the next blank, and the blanks behind it.
fn word<'p>(rest: &mut &'p str) -> &'p str {
    let word = take(rest, rest.find([' ', '\t']).unwrap_or(rest.len()));
    skip_blanks(rest);
    word
}

/// The beginning of a text of the page, for an error.
fn excerpt(text: &str) -> String {
    let mut shown: String = text.chars().take(EXCERPT).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
