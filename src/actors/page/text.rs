//! A page in words: one line, lines with names, the console's block. What comes from specs, readings and targets is
//! shown so that it can neither move a cursor, turn the direction of writing nor forge a line.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{Kind, Page, Tried};
use crate::model::incident::{Fresh, Recovered, Verdict};
use crate::spec::diagnose::harmless;

/// Width of the block's frame, characters.
const WIDTH: usize = 72;

impl Page {
    /// One line.
    pub fn headline(&self) -> String {
        let test = if self.test { "TEST: " } else { "" };
        let cause = self.cause.as_deref().unwrap_or("unknown cause");
        let over = if self.kind == Kind::Clear { " is over" } else { "" };
        harmless(&format!("{test}{}: {cause}, incident {}{over}: {}", self.service, self.incident, self.why))
    }

    /// The same with what kind of news it is.
    pub(super) fn subject(&self) -> String {
        let kind = match (self.kind, self.severity.as_deref()) {
            (Kind::Page, severity) => severity.unwrap_or("page"),
            (Kind::Clear, _) => "all clear",
        };
        format!("[{}] {}", harmless(kind), self.headline())
    }

    /// What, since when, how bad, what was tried, where to look: names and texts, each in one line.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let mut line = |name: &'static str, text: &str| lines.push((name, harmless(text)));
        if self.test {
            line("test", "this is a test of the channel");
        }
        line("service", &format!("{}   incident {}", self.service, self.incident));
        if let Some(owner) = &self.owner {
            line("owner", owner);
        }
        if let Some(cause) = &self.cause {
            line("cause", cause);
        }
        line("why", &self.why);
        if let Some(opened_at) = self.opened_at {
            let open = self.requested_at.saturating_add(self.age_seconds * 1000).saturating_sub(opened_at);
            line("since", &format!("{} ({} ago)", time(opened_at), span(open)));
        }
        if let Some(verdict) = &self.opened_by {
            line("how bad", &how_bad(verdict));
        }
        if let Some(Fresh { n, over, .. }) = self.fresh {
            line("now", &format!("{over} of the {n} freshest readings over it"));
        }
        if let Some(Recovered { n, over, .. }) = self.recovered {
            line("now", &format!("{over} of {n} readings over it"));
        }
        if let Some(openings) = self.flapping_openings {
            line("flapping", &format!("opening number {openings} of this episode"));
        }
        for Tried { verb, target, event, detail, .. } in &self.tried {
            line("tried", format!("{verb} {target}: {event} {detail}").trim_end());
        }
        for (name, value) in &self.attributes {
            line("attribute", &format!("{name} = {value}"));
        }
        if self.age_seconds >= 60 && self.kind == Kind::Page {
            line("late", &format!("this page was requested {} ago", span(self.age_seconds * 1000)));
        }
        line("look", &self.explain);
        if let Some(link) = &self.link {
            line("link", link);
        }
        if let Some(note) = &self.note {
            line("note", note);
        }
        lines
    }

    /// The block for people; `note` says why it is shown here.
    pub fn block(&self, note: Option<&str>) -> String {
        let test = if self.test { "TEST " } else { "" };
        let title = match (self.kind, self.severity.as_deref()) {
            (Kind::Page, Some(severity)) => format!(" {test}PAGE {} ({severity}) ", self.channel),
            (Kind::Page, None) => format!(" {test}PAGE {} ", self.channel),
            (Kind::Clear, _) => format!(" {test}ALL CLEAR {} ", self.channel),
        };
        let mut block = format!("\n{:=^WIDTH$}\n", harmless(&title));
        let note = note.map(|note| ("note", harmless(note)));
        for (name, text) in self.lines().into_iter().chain(note) {
            // Writing to a string does not fail.
            let _ = writeln!(block, "{name:<9} {text}");
        }
        block.push_str(&"=".repeat(WIDTH));
        block.push('\n');
        block
    }
}

/// The promise, and by how much it is broken.
fn how_bad(verdict: &Verdict) -> String {
    let Verdict { threshold, window_from, window_to, n, over, rank, p95_estimate } = *verdict;
    let p95 = p95_estimate.map_or(String::new(), |p95| format!(", p95 about {p95:.1}"));
    let window = span(window_to.saturating_sub(window_from));
    let share = over as f64 * 100.0 / n.max(1) as f64;
    let allowed = n.saturating_sub(rank);
    format!("{over} of {n} readings over {threshold} in {window}{p95} ({share:.1} % over, {allowed} allowed)")
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.0}"))
}

/// `1 h 5 min`, `65 s`.
fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 if seconds % 60 == 0 => format!("{} min", seconds / 60),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
