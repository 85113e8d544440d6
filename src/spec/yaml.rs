//! YAML text -> a small tree of nodes that know their line and column.
//!
//! Not YAML as a whole: one document, no anchors, aliases or tags, keys are text and each key once, at most
//! [`MAX_DEPTH`] deep. The depth is checked event by event, and the tree is built on a stack of our own, so no
//! text can make this recurse. Called by `spec::parse` with at most 64 KiB.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{Finding, Severity};

/// Deepest nesting of maps and lists.
const MAX_DEPTH: usize = 16;

/// Most keys of one map: looking for doubled ones is quadratic.
const MAX_KEYS: usize = 256;

/// What saphyr-parser says of `[` nested deeper than its own bound of 255, before our count sees an event.
const TOO_DEEP: &str = "recursion limit exceeded";

/// A place in the text: 1-based line and column, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pos {
    pub line: usize,
    pub column: usize,
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub pos: Pos,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In file order; no key twice.
    Map(Vec<(Key, Node)>),
}

/// The key of a map's entry.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub pos: Pos,
    pub text: String,
}

/// Text, and where each of its characters stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub text: String,
    pub pos: Pos,
    columns: Columns,
    plain: bool,
}

#[derive(Clone, Debug)]
enum Columns {
    /// A plain scalar on one line: character i stands i columns further.
    Straight,
    /// A quoted scalar on one line: the column of each character.
    Each(Vec<usize>),
    /// More than one line: only the beginning is known.
    Unknown,
}

impl Scalar {
    /// The place of the scalar's character `index` (the end, if there are fewer).
    pub fn at(&self, index: usize) -> Pos {
        let column = match &self.columns {
            Columns::Straight => self.pos.column + index,
            Columns::Each(columns) => columns.get(index).or(columns.last()).copied().unwrap_or(self.pos.column),
            Columns::Unknown => self.pos.column,
        };
        Pos { column, ..self.pos }
    }

    /// Is this YAML's null?
    pub fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// Reads the one document of `text` (without byte order mark).
pub(super) fn load(text: &str) -> Result<Node, Finding> {
    let chars: Vec<char> = text.chars().collect();
    let mut builder = Builder { chars: &chars, stack: Vec::new(), root: None, documents: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            let pos = Pos { line: mark.line().max(1), column: mark.col() + 1 };
            if error.info() == TOO_DEEP { too_deep(pos) } else { not_yaml(pos, error.info()) }
        })?;
        builder.take(event, span)?;
    }
    match builder.root {
        Some(Node { value: Value::Scalar(scalar), .. }) if scalar.is_null() => Err(empty()),
        Some(root) => Ok(root),
        None => Err(empty()),
    }
}

fn not_yaml(pos: Pos, why: &str) -> Finding {
    let help = "indent with blanks, write `key: value`, and quote a text with special characters";
    finding(pos, format!("this is not YAML: {why}"), Some(help))
}

fn too_deep(pos: Pos) -> Finding {
    finding(pos, format!("nested deeper than {MAX_DEPTH}"), Some("a spec needs no more than 4"))
}

fn empty() -> Finding {
    let help = "a spec begins with `id:` and `owner:`";
    finding(Pos { line: 1, column: 1 }, "the file is empty".to_owned(), Some(help))
}

fn finding(pos: Pos, message: String, help: Option<&str>) -> Finding {
    Finding { severity: Severity::Error, line: pos.line, column: pos.column, message, help: help.map(str::to_owned) }
}

/// A list or map that has begun and not ended.
struct Open {
    pos: Pos,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<Key> },
}

struct Builder<'a> {
    chars: &'a [char],
    stack: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Finding> {
        let pos = Pos { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(finding(pos, "a second document begins".to_owned(), Some("one service a file")));
                }
            }
            Event::Alias(_) => return Err(refused(pos, "an alias", "write the value itself")),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_extras(pos, anchor, tag.is_some())?;
                let columns = self.columns(&text, style, &span);
                let plain = style == ScalarStyle::Plain;
                let scalar = Scalar { text: text.into_owned(), pos, columns, plain };
                self.put(Node { pos, value: Value::Scalar(scalar) })?;
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_extras(pos, anchor, tag.is_some())?;
                self.open(pos, OpenKind::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_extras(pos, anchor, tag.is_some())?;
                self.open(pos, OpenKind::Map { entries: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { pos, kind }) = self.stack.pop() else {
                    return Err(finding(pos, "an end without a beginning".to_owned(), None));
                };
                let value = match kind {
                    OpenKind::List(items) => Value::List(items),
                    OpenKind::Map { entries, .. } => Value::Map(entries),
                };
                self.put(Node { pos, value })?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn open(&mut self, pos: Pos, kind: OpenKind) -> Result<(), Finding> {
        if self.stack.len() == MAX_DEPTH {
            return Err(too_deep(pos));
        }
        self.stack.push(Open { pos, kind });
        Ok(())
    }

    /// Gives a complete node to what it is part of.
    fn put(&mut self, node: Node) -> Result<(), Finding> {
        match self.stack.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map { entries, key }) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let Node { pos, value: Value::Scalar(scalar) } = node else {
                        return Err(finding(node.pos, "a key must be a word".to_owned(), None));
                    };
                    if let Some((first, _)) = entries.iter().find(|(first, _)| first.text == scalar.text) {
                        let message =
                            format!("the key `{}` stands here twice, first on line {}", first.text, first.pos.line);
                        return Err(finding(pos, message, Some("remove one of them")));
                    }
                    if entries.len() == MAX_KEYS {
                        return Err(finding(pos, format!("a map with more than {MAX_KEYS} keys"), None));
                    }
                    *key = Some(Key { pos, text: scalar.text });
                }
            },
        }
        Ok(())
    }

    /// Where the characters of a scalar stand.
    fn columns(&self, text: &str, style: ScalarStyle, span: &Span) -> Columns {
        if span.start.line() != span.end.line() {
            return Columns::Unknown;
        }
        match style {
            ScalarStyle::Plain => Columns::Straight,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                let mut columns = Vec::with_capacity(text.len() + 1);
                let mut index = span.start.index() + 1;
                let column = |index: usize| span.start.col() + 1 + index - span.start.index();
                for _ in text.chars() {
                    columns.push(column(index));
                    index += written_length(style, &self.chars[index.min(self.chars.len())..]);
                }
                columns.push(column(index));
                Columns::Each(columns)
            }
            ScalarStyle::Literal | ScalarStyle::Folded => Columns::Unknown,
        }
    }
}

/// How many characters of the source make the next character of a quoted scalar.
fn written_length(style: ScalarStyle, source: &[char]) -> usize {
    match (style, source) {
        (ScalarStyle::SingleQuoted, ['\'', '\'', ..]) => 2,
        (ScalarStyle::DoubleQuoted, ['\\', 'x', ..]) => 4,
        (ScalarStyle::DoubleQuoted, ['\\', 'u', ..]) => 6,
        (ScalarStyle::DoubleQuoted, ['\\', 'U', ..]) => 10,
        (ScalarStyle::DoubleQuoted, ['\\', ..]) => 2,
        _ => 1,
    }
}

fn refuse_extras(pos: Pos, anchor: usize, tagged: bool) -> Result<(), Finding> {
    if anchor != 0 {
        return Err(refused(pos, "an anchor", "write the value where it is needed"));
    }
    if tagged {
        return Err(refused(pos, "a tag", "write the value without `!`; quote a text that begins with `!`"));
    }
    Ok(())
}

fn refused(pos: Pos, what: &str, help: &str) -> Finding {
    finding(pos, format!("{what} is not allowed in a spec"), Some(help))
}
