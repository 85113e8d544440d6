//! `ops dta find|show`: looks things up in the vault. Reads only; the archiver writes.

use std::io::{self, Write};

use anyhow::{Context, bail};
use jiff::{Span, SpanRelativeTo, Timestamp};

use crate::codec::ids::Ids;
use crate::vault::decode::{ByTopic, Decode};
use crate::vault::find::{Findings, Found, Lookup, Query, canonical_topic, find, show};
use crate::vault::json::{hex, to_json};
use crate::vault::{LogId, Vault};

/// In a list, so many bytes of what cannot be decoded are shown; `show` and `--json` show all.
const HEX_IN_LIST: usize = 48;

/// The archive (HMS-DTA): every record of ops.incidents and ops.actions, byte for byte.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The vault's directory, or a file:// URL.
    #[arg(long, global = true, env = "OPS_VAULT", default_value = "./vault", value_name = "DIR")]
    vault: String,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the records that match, oldest first.
    #[command(after_help = FIND_HELP)]
    Find(FindArgs),
    /// Print one record with its headers and all it says.
    #[command(after_help = SHOW_HELP)]
    Show(ShowArgs),
}

const FIND_HELP: &str = "\
Examples:
  ops dta find --service DCA_Luggage_Scanner --since 2h   what happened to it lately
  ops dta find --topic ops.incidents --kind opened        every incident ever opened
  ops dta find --kind done --json | jq .value.target      what was acted on

Times are the broker's append times: [since, until).
Kinds are the names in `event`: opened, requested, resolved, ... on ops.incidents;
started, done, failed, ... on ops.actions.
A record that cannot be decoded is never left out for its kind: it is listed in hex.

Exit codes: 0 found, 1 nothing matches, 2 error, damage, or only undecodable records.";

const SHOW_HELP: &str = "\
Example:
  ops dta show ops.incidents/3/17            the place as `ops dta find` prints it
  ops dta show ops.incidents/3/17 --raw      the value's exact bytes on stdout, and nothing else

Exit codes: 0 found, 1 no record at that place (stderr says why), 2 error.";

#[derive(clap::Args)]
struct FindArgs {
    /// Only this topic: ops.incidents (ops.incident will do) or ops.actions.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only this service.
    #[arg(long, value_name = "ID")]
    service: Option<String>,
    /// Only events of this name: opened, requested, resolved, started, done, ...
    #[arg(long, value_name = "EVENT")]
    kind: Option<String>,
    /// From then on: an age (90s, 2h, 7d) or a time (2026-01-31T08:00:00Z).
    #[arg(long, value_name = "AGE|TIME")]
    since: Option<String>,
    /// Before then, in the same words.
    #[arg(long, value_name = "AGE|TIME")]
    until: Option<String>,
    /// One JSON object a line: topic, partition, offset, at, key, and value or undecodable.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ShowArgs {
    /// Where the record is.
    #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
    place: String,
    /// Write the value as it is.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// One JSON object, headers included.
    #[arg(long)]
    json: bool,
}

/// Runs the command; the answer is whether something was found.
pub fn run(args: Args) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("cannot start the runtime")?;
    let vault = Vault::open(&args.vault).context("give the vault with --vault or OPS_VAULT")?;
    let out = &mut io::stdout().lock();
    match args.command {
        Command::Find(args) => {
            let query = query(&args, Timestamp::now())?;
            let findings = runtime.block_on(find(&vault, &query, &ByTopic))?;
            print_findings(findings, args.json, out)
        }
        Command::Show(args) => {
            let (log, offset) = place(&args.place)?;
            let lookup = runtime.block_on(show(&vault, &log, offset))?;
            let ids = runtime.block_on(vault.ids())?;
            print_lookup(&log, offset, lookup, &ids, &args, out)
        }
    }
}

fn query(args: &FindArgs, now: Timestamp) -> anyhow::Result<Query> {
    let time = |text: &Option<String>| text.as_deref().map(|text| time(text, now)).transpose();
    Ok(Query {
        topic: args.topic.clone(),
        service: args.service.clone(),
        kind: args.kind.clone(),
        from: time(&args.since)?,
        to: time(&args.until)?,
    })
}

/// Milliseconds since the epoch of a time, or of so long before `now`.
pub(super) fn time(text: &str, now: Timestamp) -> anyhow::Result<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let age = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let Ok(age) = age else {
        bail!("{text:?} is neither an age (90s, 2h, 7d) nor a time with its zone (2026-01-31T08:00:00Z)");
    };
    Ok(now.checked_sub(age.abs()).with_context(|| format!("{text:?} is too long ago"))?.as_millisecond())
}

/// `TOPIC/PARTITION/OFFSET`.
fn place(text: &str) -> anyhow::Result<(LogId, i64)> {
    let parts: Vec<_> = text.split('/').collect();
    if let [topic, partition, offset] = parts[..]
        && let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse())
    {
        return Ok((LogId::new(canonical_topic(topic), partition), offset));
    }
    bail!("{text:?} is no place in the vault; one looks like ops.incidents/3/17 (topic/partition/offset)")
}

fn print_findings(findings: Findings, json: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    for found in &findings.found {
        let line = if json { to_json(found, false).to_string() } else { to_line(found) };
        if is_closed(writeln!(out, "{line}"))? {
            break;
        }
    }
    let is_whole = findings.damage.is_empty();
    for damage in findings.damage {
        eprintln!("error: {:#}", anyhow::Error::new(damage));
    }
    if !is_whole {
        bail!("the vault could not be read as a whole, so something may be missing from this list");
    }
    let undecodable = findings.found.iter().filter(|found| found.decoded.is_err()).count();
    if undecodable > 0 && undecodable == findings.found.len() {
        bail!("none of the {undecodable} records that may match can be decoded");
    }
    Ok(!findings.found.is_empty())
}

fn print_lookup(
    log: &LogId,
    offset: i64,
    lookup: Lookup,
    ids: &Ids,
    args: &ShowArgs,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let entry = match lookup {
        Lookup::Record(entry) => entry,
        Lookup::Hole => {
            eprintln!("no record has {log}/{offset}: a transaction marker took it, or the topic no longer had it");
            return Ok(false);
        }
        Lookup::Beyond { end: Some(end) } => {
            eprintln!("{log}/{offset} is not in the vault: it ends at {end}");
            return Ok(false);
        }
        Lookup::Beyond { end: None } => {
            eprintln!("the vault has nothing of {log}");
            return Ok(false);
        }
    };
    let decoded = ByTopic.decode(&log.topic, ids, &entry);
    let found = Found { log: log.clone(), decoded, entry, number: None };
    is_closed(if args.raw {
        out.write_all(found.entry.value.as_deref().unwrap_or_default())
    } else if args.json {
        writeln!(out, "{}", to_json(&found, true))
    } else {
        out.write_all(to_page(&found).as_bytes())
    })?;
    Ok(true)
}

/// Did the reader of our output go away (`| head`)? That is its right and no error.
fn is_closed(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(error).context("cannot write the output"),
    }
}

fn to_line(found: &Found) -> String {
    let Found { log, entry, decoded, .. } = found;
    let key = entry.key.as_deref().map_or_else(|| "(no key)".to_owned(), text);
    let said = match decoded {
        Ok(value) => {
            format!("{:<16} {}", printable(value["event"].as_str().unwrap_or("?")), printable(&value.to_string()))
        }
        Err(why) => {
            let value = entry.value.as_deref().unwrap_or_default();
            let cut = if value.len() > HEX_IN_LIST { "..." } else { "" };
            let shown = hex(&value[..value.len().min(HEX_IN_LIST)]);
            format!("{:<16} {}: {} bytes {shown}{cut}", "UNDECODABLE", printable(why), value.len())
        }
    };
    format!("{}  {log}/{}  {key}  {said}", when(entry.timestamp), entry.offset)
}

fn to_page(found: &Found) -> String {
    let Found { log, entry, decoded, .. } = found;
    let value = entry.value.as_deref();
    let mut page = format!("{log}/{}\nappended  {}\n", entry.offset, when(entry.timestamp));
    page += &format!("key       {}\n", entry.key.as_deref().map_or_else(|| "(null)".to_owned(), text));
    for header in &entry.headers {
        let value = header.value.as_deref().map_or_else(|| "(null)".to_owned(), text);
        page += &format!("header    {}: {value}\n", text(&header.name));
    }
    page +=
        &value.map_or_else(|| "value     (null)\n".to_owned(), |value| format!("value     {} bytes\n", value.len()));
    match decoded {
        Ok(value) => page += &format!("{}\n", printable_lines(&format!("{value:#}"))),
        Err(why) => page += &format!("UNDECODABLE: {}\n{}\n", printable(why), hex(value.unwrap_or_default())),
    }
    page
}

fn when(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) if ms >= 0 => format!("{time:.3}"),
        _ => format!("{ms} ms"),
    }
}

/// Bytes for a terminal: text where it is text, else hex.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| format!("hex {}", hex(bytes)), printable)
}

/// Text for one line of a terminal: what would move the cursor, turn the writing or ring the bell is written out.
fn printable(text: &str) -> String {
    let is_plain = |c: char| matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1;
    text.chars().map(|c| if is_plain(c) { c.to_string() } else { c.escape_unicode().to_string() }).collect()
}

fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::vault::Entry;

    fn found(key: &[u8], decoded: Result<Value, String>) -> Found {
        let entry = Entry {
            offset: 17,
            timestamp: 1_764_021_064_123,
            key: Some(key.to_vec()),
            value: Some(vec![0xc3, 0x01, 0xff]),
            headers: Vec::new(),
        };
        Found { log: LogId::new("ops.incidents", 3), entry, number: None, decoded }
    }

    #[test]
    fn times_are_ages_or_instants() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let hour = 3_600_000;
        for (text, ago) in [("2h", 2 * hour), ("90s", 90_000), ("1d", 24 * hour), ("2026-01-01T23:00:00Z", hour)] {
            assert_eq!(time(text, now).unwrap(), now.as_millisecond() - ago, "{text}");
        }
        for bad in ["", "yesterday", "2", "1 month", "2026-01-01", "175000000h"] {
            assert!(time(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_is_topic_partition_offset() {
        for (text, topic) in [("ops.incident/3/17", "ops.incidents"), ("t-1.ops.actions/3/17", "t-1.ops.actions")] {
            assert_eq!(place(text).unwrap(), (LogId::new(topic, 3), 17));
        }
        for bad in ["", "ops.incidents", "ops.incidents/3", "ops.incidents/x/1", "ops.incidents/3/17/1"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_listed_cannot_speak_to_the_terminal() {
        let line = to_line(&found(b"a\x1b[2Jb", Ok(json!({"event": "opened", "cause": "\u{202e}x\n"}))));
        assert!(line.starts_with("2025-11-24T21:51:04.123Z  ops.incidents/3/17  a\\u{1b}[2Jb  opened "), "{line}");
        assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line:?}");
    }

    #[test]
    fn what_cannot_be_decoded_is_shown_in_hex() {
        let unknown = found(&[0xff], Err("unknown schema".into()));
        assert!(to_line(&unknown).contains("hex ff  UNDECODABLE      unknown schema: 3 bytes c301ff"));
        assert!(to_page(&unknown).ends_with("UNDECODABLE: unknown schema\nc301ff\n"));
        let json = to_json(&unknown, false);
        assert_eq!(json["key"], json!({"hex": "ff"}));
        assert_eq!(json["undecodable"], json!({"why": "unknown schema", "hex": "c301ff"}));
    }

    #[test]
    fn only_what_was_understood_is_an_answer() {
        let answer = |found: Vec<Found>| print_findings(Findings { found, damage: vec![] }, true, &mut Vec::new());
        assert!(!answer(vec![]).unwrap());
        assert!(answer(vec![found(b"a", Ok(json!({})))]).unwrap());
        assert!(answer(vec![found(b"a", Ok(json!({}))), found(b"a", Err(String::new()))]).unwrap());
        assert!(answer(vec![found(b"a", Err(String::new()))]).is_err());
    }
}
