//! Credentials in a spec: found so that they are refused, and masked wherever a line of the file is shown. A spec
//! is published to a topic that many read and that is kept for long. Called by `spec::parse` and
//! [`super::diagnose`].

use std::ops::Range;

use super::read::MAX_FINDINGS;
use super::yaml::{Node, Pos, Value};
use super::{Finding, Severity, diagnose};

/// How the keys of credentials end, without separators and in lower case.
const KEYS: [&str; 16] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "accesskeyid",
    "secretkey",
    "privatekey",
    "signingkey",
    "routingkey",
    "integrationkey",
    "credential",
    "credentials",
    "authorization",
];

/// How well-known credentials begin, and how many characters of them follow at least.
const VALUES: [(&str, usize); 20] = [
    ("xoxb-", 4),
    ("xoxp-", 4),
    ("xoxa-", 4),
    ("xoxr-", 4),
    ("xoxs-", 4),
    ("xapp-", 4),
    ("AKIA", 12),
    ("ASIA", 12),
    ("ghp_", 8),
    ("gho_", 8),
    ("ghs_", 8),
    ("github_pat_", 8),
    ("glpat-", 8),
    ("sk_live_", 8),
    ("sk-ant-", 8),
    ("AIza", 30),
    ("SG.", 20),
    ("hvs.", 16),
    ("eyJhbGciOi", 8),
    ("hooks.slack.com/services/", 1),
];

/// After that many credentials on one line the rest of it is masked as a whole.
const MAX_MASKS: usize = 32;

const BEGIN: &str = "-----BEGIN";

/// One error for each key, value or comment that looks like a credential. None repeats it.
pub(super) fn search(root: &Node, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        match &node.value {
            Value::Scalar(scalar) => {
                if let Some(range) = first(&scalar.text) {
                    let pos = scalar.at(scalar.text[..range.start].chars().count());
                    found.push(finding(pos, "this looks like a credential in plain text"));
                }
            }
            Value::List(items) => open.extend(items),
            Value::Map(entries) => {
                for (key, value) in entries {
                    if is_key(&key.text) {
                        found.push(finding(key.pos, "a key of a credential"));
                    } else if first(&key.text).is_some() {
                        found.push(finding(key.pos, "this looks like a credential in plain text"));
                    } else {
                        open.push(value);
                    }
                }
            }
        }
    }
    // Comments are published too. Only well-known forms here: a comment may well speak of a password.
    for (index, line) in diagnose::lines(text).enumerate() {
        let known = [known(line), block(line), user(line)].into_iter().flatten().min_by_key(|range| range.start);
        if let Some(range) = known.filter(|_| found.iter().all(|finding| finding.line != index + 1)) {
            let pos = Pos { line: index + 1, column: line[..range.start].chars().count() + 1 };
            found.push(finding(pos, "this looks like a credential in plain text"));
        }
    }
    found.sort_by_key(|finding| (finding.line, finding.column));
    found.truncate(MAX_FINDINGS);
    found
}

fn finding(pos: Pos, message: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        line: pos.line,
        column: pos.column,
        message: format!("{message}: specs are published to all readers of the bus"),
        help: Some("remove it and revoke it; the actors hold their own credentials".to_owned()),
    }
}

/// The line with every credential replaced by as many `*`, so that columns stay.
pub(super) fn masked(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    for _ in 0..MAX_MASKS {
        let Some(range) = first(rest) else { break };
        masked.push_str(&rest[..range.start]);
        masked.extend(rest[range.clone()].chars().map(|_| '*'));
        rest = &rest[range.end..];
    }
    match first(rest) {
        Some(_) => masked.extend(rest.chars().map(|_| '*')),
        None => masked.push_str(rest),
    }
    masked
}

/// The first credential in `text`: what follows the key of one, a well-known form, or the user in a URL.
fn first(text: &str) -> Option<Range<usize>> {
    [assigned(text), known(text), block(text), user(text)].into_iter().flatten().min_by_key(|range| range.start)
}

/// `key: value` or `key=value`, to the end of the value.
fn assigned(text: &str) -> Option<Range<usize>> {
    for (mark, sign) in text.char_indices().filter(|(_, c)| matches!(c, ':' | '=')) {
        let before = text[..mark].trim_end_matches([' ', '\t', '"', '\'']);
        let start = before.rfind(|c: char| !is_key_char(c)).map_or(0, |at| at + char_len(before, at));
        if !is_key(&before[start..]) {
            continue;
        }
        let after = &text[mark + 1..];
        // Without a blank behind it, or a quoted key before it, a colon begins no value in YAML: `http://token:80/`.
        if sign == ':' && !after.starts_with([' ', '\t']) && !text[..mark].ends_with(['"', '\'']) {
            continue;
        }
        let from = mark + 1 + after.len() - after.trim_start().len();
        let to = match sign {
            ':' => text.trim_end().len(),
            _ => text[from..].find([' ', ',', '&', '\t']).map_or(text.len(), |length| from + length),
        };
        if from < to && text[from..to].contains(|c| c != '*') {
            return Some(from..to);
        }
    }
    None
}

fn known(text: &str) -> Option<Range<usize>> {
    let mut before = None;
    text.char_indices().find_map(|(start, c)| {
        // It stands alone.
        if before.replace(c).is_some_and(char::is_alphanumeric) {
            return None;
        }
        VALUES.iter().find_map(|(prefix, least)| {
            let body = text[start..].strip_prefix(prefix)?;
            let length =
                body.find(|c: char| !is_key_char(c) && !matches!(c, '.' | '/' | '+' | '=')).unwrap_or(body.len());
            (length >= *least).then_some(start..start + prefix.len() + length)
        })
    })
}

fn block(text: &str) -> Option<Range<usize>> {
    text.find(BEGIN).map(|start| start..text.len())
}

/// `user:password` of `scheme://user:password@host`.
fn user(text: &str) -> Option<Range<usize>> {
    text.match_indices("://").find_map(|(at, mark)| {
        let start = at + mark.len();
        let authority = &text[start..];
        let authority = &authority[..authority.find(['/', '?', '#', ' ', '"', '\'']).unwrap_or(authority.len())];
        let end = start + authority.rfind('@')?;
        let password = text[start..end].split_once(':')?.1;
        password.contains(|c| c != '*').then_some(start..end)
    })
}

fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn char_len(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

fn is_key(text: &str) -> bool {
    let key: String = text.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' ')).collect::<String>().to_lowercase();
    KEYS.iter().any(|known| key.ends_with(known))
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn credentials_are_masked_and_columns_stay() {
        for (line, shown) in [
            ("password: hunter2  ", "password: *******  "),
            ("  api_key: \"abc\"", "  api_key: *****"),
            ("then: page channel=x token=abc, severity=info", "then: page channel=x token=***, severity=info"),
            ("- xoxb-123456 y", "- *********** y"),
            ("x: AKIAABCDEFGHIJKLMNOP", "x: ********************"),
            ("u: http://a:b@host/", "u: http://***@host/"),
            ("{\"password\":\"abc\"}", "{\"password\":******"),
            ("k: -----BEGIN RSA", "k: **************"),
        ] {
            assert_eq!(masked(line), shown);
        }
    }

    #[test]
    fn plain_lines_stay() {
        for line in [
            "owner: TSA",
            "  scrape_url: http://scanner.local/metrics",
            "if: tokens > 5",
            "name: token_errors",
            "scrape_url: http://auth-token:9090/metrics",
            "",
        ] {
            assert_eq!(masked(line), line);
        }
    }
}
