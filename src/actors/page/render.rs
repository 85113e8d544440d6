//! A page in the forms that receivers take: an alert of PagerDuty's, a message of Slack's, a letter.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Kind, Page};
use crate::model::ActionId;
use crate::spec::diagnose::harmless;
use crate::world::email::Letter;
use crate::world::pagerduty::Alert;
use crate::world::slack::{Mark, Message, escaped};

/// Longest header and longest section of Slack's Block Kit, characters.
const HEADER_CHARS: usize = 150;
const SECTION_CHARS: usize = 3_000;

impl Page {
    /// As PagerDuty takes it.
    pub fn alert(&self) -> Alert {
        let mut details = self.facts();
        make_harmless(&mut details);
        let at = Timestamp::from_millisecond(self.requested_at).unwrap_or_default();
        Alert {
            summary: self.headline(),
            source: self.service.to_string(),
            severity: self.severity.clone().unwrap_or_else(|| "critical".to_owned()),
            timestamp: at.to_string(),
            group: self.owner.as_deref().map(harmless),
            class: self.cause.as_deref().map(harmless),
            custom_details: details,
            links: self.link.iter().map(|link| (link.clone(), self.incident.to_string())).collect(),
        }
    }

    /// By what Slack finds it again.
    pub fn mark(&self) -> Mark {
        Mark { action_id: self.action_id.to_string(), dedup_key: self.dedup_key.clone() }
    }

    /// As Slack takes it, into the thread that begins with `thread`. Nothing in it can mention anybody.
    pub fn message(&self, thread: Option<String>) -> Message {
        let plain =
            |text: &str, limit: usize| json!({"type": "plain_text", "emoji": false, "text": short(text, limit)});
        let lines: Vec<_> = self.lines().into_iter().map(|(name, text)| format!("{name}: {text}")).collect();
        Message {
            text: short(&self.subject(), SECTION_CHARS),
            blocks: json!([
                {"type": "header", "text": plain(&self.subject(), HEADER_CHARS)},
                {"type": "section", "text": plain(&lines.join("\n"), SECTION_CHARS)},
            ]),
            mark: self.mark(),
            thread,
        }
    }

    /// As a mail server takes it.
    pub fn letter(&self) -> Letter {
        let root = ActionId::follow_up(&self.dedup_key, "thread", &self.channel);
        let first = self.thread.first.map(|first| first.to_string());
        let lines = self.lines().into_iter().map(|(name, text)| format!("{name:<9} {text}\r\n"));
        let about = match self.kind {
            Kind::Page => "A page",
            Kind::Clear => "An all-clear",
        };
        Letter {
            id: self.action_id.to_string(),
            thread: std::iter::once(root.to_string()).chain(first).collect(),
            subject: self.subject(),
            text: format!("{}\r\n{about} of HMS-OPS, action {}\r\n", lines.collect::<String>(), self.action_id),
        }
    }
}

/// Escaped for Slack and cut to so many characters, never inside of an entity.
fn short(text: &str, limit: usize) -> String {
    const DOTS: &str = "...";
    let (mut cut, mut length) = (String::new(), 0);
    for c in text.chars() {
        let piece = escaped(c.encode_utf8(&mut [0; 4]));
        length += piece.chars().count();
        if length > limit - DOTS.len() {
            return cut + DOTS;
        }
        cut.push_str(&piece);
    }
    cut
}

/// All texts in it, names included.
fn make_harmless(value: &mut Value) {
    match value {
        Value::String(text) => *text = harmless(text),
        Value::Array(items) => items.iter_mut().for_each(make_harmless),
        Value::Object(map) => {
            for (name, mut value) in std::mem::take(map) {
                make_harmless(&mut value);
                map.insert(harmless(&name), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a stranger can write, at its worst.
    fn hostile() -> Page {
        let evil = "<!channel> <@U1>\r\nFrom: boss\n\u{202e}all is well\u{1b}[2J\0";
        let mut page = Page::test(Kind::Page, "duty", "critical", 1_700_000_000_000);
        page.cause = Some(evil.to_owned());
        page.owner = Some(evil.to_owned());
        page.why = evil.to_owned();
        page.note = Some(evil.to_owned());
        page.attributes = [(evil.to_owned(), evil.repeat(400))].into();
        page.tried.push(super::super::Tried {
            verb: "scale_up".to_owned(),
            target: evil.to_owned(),
            event: "failed".to_owned(),
            detail: evil.to_owned(),
            at: 0,
        });
        page
    }

    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(map) => map.iter().for_each(|(name, value)| {
                found.push(name.clone());
                texts(value, found);
            }),
            _ => {}
        }
    }

    fn hides_something(text: &str) -> bool {
        text.chars().any(|c| c.is_control() || c == '\u{202e}')
    }

    #[test]
    fn a_hostile_text_mentions_nobody_in_slack_and_forges_no_line() {
        let page = hostile();
        let message = page.message(None);
        let mut found = vec![message.text.clone()];
        texts(&message.blocks, &mut found);
        assert!(found.iter().all(|text| !text.contains(['<', '>'])), "{found:?}");
        let section = message.blocks[1]["text"]["text"].as_str().unwrap();
        assert!(section.chars().count() <= 3_000, "Slack takes no longer section");
        assert!(message.blocks[0]["text"]["text"].as_str().unwrap().chars().count() <= 150);
        let names = page.lines().into_iter().map(|(name, _)| format!("{name}: ")).collect::<Vec<_>>();
        for (line, name) in section.lines().zip(names) {
            assert!(line.starts_with(&name) && !hides_something(line), "{line:?}");
        }
        assert_eq!(message.blocks[1]["text"]["type"], "plain_text");
    }

    #[test]
    fn a_hostile_text_hides_nothing_in_an_alert_or_a_letter() {
        let page = hostile();
        let alert = serde_json::to_value(page.alert()).unwrap();
        let mut found = Vec::new();
        texts(&alert, &mut found);
        assert!(found.len() > 20 && !found.iter().any(|text| hides_something(text)), "{found:?}");
        let letter = page.letter();
        assert!(!hides_something(&letter.subject), "{}", letter.subject);
        let lines = page.lines().len();
        assert_eq!(letter.text.lines().count(), lines + 2, "{}", letter.text);
        assert!(!letter.text.lines().any(hides_something));
        assert!(!page.block(Some("x\ny")).lines().any(hides_something));
    }

    #[test]
    fn a_test_says_that_it_is_one_wherever_it_goes() {
        let page = Page::test(Kind::Page, "duty", "info", 1);
        for text in [
            page.alert().summary,
            page.message(None).text,
            page.letter().subject,
            page.block(None),
            page.body()["text"].as_str().unwrap().to_owned(),
        ] {
            assert!(text.contains("TEST"), "{text}");
        }
        assert_eq!(page.body()["test"], true);
    }

    #[test]
    fn letters_of_an_episode_hang_together_and_a_clear_answers_the_page() {
        let (page, clear) = (Page::test(Kind::Page, "duty", "info", 1), Page::test(Kind::Clear, "duty", "info", 1));
        let (page, clear) = (page.letter(), clear.letter());
        assert_eq!(page.thread, clear.thread[..1]);
        assert_eq!(clear.thread[1], page.id);
        assert_ne!(clear.id, page.id);
    }
}
