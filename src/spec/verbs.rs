//! The verbs of the playbook and what each takes: call as written -> [`Call`] with canonical arguments. Called by
//! [`super::playbook`]. Actors rely on what is checked here and read no specs.

use super::grammar::{self, Arg, Literal, LiteralKind, Name, Sign, SyntaxError};
use super::suggest;
use crate::model::spec::Call;

const VERBS: [&str; 7] = ["scale_up", "scale_down", "scale", "page", "rollback", "throttle", "isolate"];
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];
const MAX_REPLICAS: u64 = 1_000;
const SCALE_HELP: &str = "write `scale_up compute=+2`, `scale_down compute=-2` or `scale compute=4`";
const CHANNEL_HELP: &str = "write `page channel=ops`; letters, digits, `_`, `.` and `-`, at most 64";

/// Checks one call.
pub(super) fn call(written: &grammar::Call<'_>) -> Result<Call, SyntaxError> {
    let verb = written.verb.text;
    let args = match verb {
        "scale_up" | "scale_down" | "scale" => scale(written)?,
        "page" => page(written)?,
        "rollback" => object_alone(written, "deploy")?,
        "isolate" => object_alone(written, "pod")?,
        "throttle" => throttle(written)?,
        _ => {
            let help = suggest::did_you_mean(verb, &VERBS).unwrap_or_else(|| format!("verbs: {}", VERBS.join(", ")));
            let message = format!("unknown verb `{verb}`");
            return Err(SyntaxError { at: written.verb.at, message, help: Some(help) });
        }
    };
    let mut args: Vec<(String, String)> = args.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    args.sort();
    Ok(Call { verb: verb.to_owned(), args })
}

type Args = Vec<(&'static str, String)>;

fn scale(written: &grammar::Call<'_>) -> Result<Args, SyntaxError> {
    let verb = written.verb.text;
    if let Some(object) = written.object {
        let message = format!("`{verb}` takes no object, found `{}`", object.text);
        return Err(SyntaxError::new(object.at, message, Some(SCALE_HELP)));
    }
    known_keys(written, &["compute"])?;
    let Some(arg) = find(written, "compute") else {
        return Err(SyntaxError::new(written.verb.at, format!("`{verb}` needs `compute`"), Some(SCALE_HELP)));
    };
    let LiteralKind::Number(_, "") = arg.value.kind else {
        return Err(SyntaxError::new(arg.value.at, "`compute` is a number of replicas", Some(SCALE_HELP)));
    };
    let digits = arg.value.text.trim_start_matches(['+', '-']);
    let replicas = digits.parse::<u64>().ok().filter(|replicas| (1..=MAX_REPLICAS).contains(replicas));
    let Some(replicas) = replicas else {
        let message = format!("`compute` must be a whole number from 1 to {MAX_REPLICAS}, not `{digits}`");
        return Err(SyntaxError::new(arg.value.at, message, Some(SCALE_HELP)));
    };
    let sign = match (verb, arg.sign) {
        ("scale_up", Sign::None | Sign::Plus) => "+",
        ("scale_down", Sign::None | Sign::Minus) => "-",
        ("scale", Sign::None) => "",
        _ => {
            let message = format!("`{verb}` does not take this sign");
            return Err(SyntaxError::new(arg.key.at, message, Some(SCALE_HELP)));
        }
    };
    Ok(vec![("compute", format!("{sign}{replicas}"))])
}

fn page(written: &grammar::Call<'_>) -> Result<Args, SyntaxError> {
    known_keys(written, &["channel", "severity"])?;
    let channel = match (written.object, find(written, "channel")) {
        (Some(object), None) => object,
        (None, Some(arg)) => unsigned_name(arg, CHANNEL_HELP)?,
        (Some(_), Some(arg)) => {
            let message = "the channel is given twice";
            return Err(SyntaxError::new(arg.key.at, message, Some(CHANNEL_HELP)));
        }
        (None, None) => {
            return Err(SyntaxError::new(written.verb.at, "`page` needs a channel", Some(CHANNEL_HELP)));
        }
    };
    if !is_channel(channel.text) {
        let message = format!("`{}` cannot name a channel", channel.text);
        return Err(SyntaxError::new(channel.at, message, Some(CHANNEL_HELP)));
    }
    let severity = match find(written, "severity") {
        None => SEVERITIES[0],
        Some(arg) => {
            let wanted = unsigned_name(arg, "write `severity=critical`")?;
            let Some(severity) = SEVERITIES.into_iter().find(|severity| *severity == wanted.text) else {
                let help = suggest::did_you_mean(wanted.text, &SEVERITIES)
                    .unwrap_or_else(|| format!("severities: {}", SEVERITIES.join(", ")));
                let message = format!("unknown severity `{}`", wanted.text);
                return Err(SyntaxError { at: wanted.at, message, help: Some(help) });
            };
            severity
        }
    };
    Ok(vec![("channel", channel.text.to_owned()), ("severity", severity.to_owned())])
}

fn throttle(written: &grammar::Call<'_>) -> Result<Args, SyntaxError> {
    const HELP: &str = "write `throttle traffic 20 %`";
    require_object(written, "traffic", HELP)?;
    known_keys(written, &["by"])?;
    let by = match (written.percent, find(written, "by")) {
        (Some(percent), None) => percent,
        (None, Some(arg)) if arg.sign == Sign::None => arg.value,
        (Some(_), Some(arg)) => return Err(SyntaxError::new(arg.key.at, "the share is given twice", Some(HELP))),
        (None, Some(arg)) => return Err(SyntaxError::new(arg.value.at, "a share has no sign", Some(HELP))),
        (None, None) => return Err(SyntaxError::new(written.verb.at, "`throttle` needs a share", Some(HELP))),
    };
    let LiteralKind::Percent(percent) = by.kind else {
        return Err(SyntaxError::new(by.at, "the share is in percent", Some(HELP)));
    };
    match percent.shifted(4) {
        Some(ppm) if (1..=1_000_000).contains(&ppm) => {
            Ok(vec![("by", format!("{}%", percent.canonical())), ("object", "traffic".to_owned())])
        }
        _ => {
            let message = "the share must be above 0 % and at most 100 %, with at most 4 decimals";
            Err(SyntaxError::new(by.at, message, Some(HELP)))
        }
    }
}

fn object_alone(written: &grammar::Call<'_>, object: &'static str) -> Result<Args, SyntaxError> {
    require_object(written, object, &format!("write `{} {object}`", written.verb.text))?;
    known_keys(written, &[])?;
    Ok(vec![("object", object.to_owned())])
}

fn require_object(written: &grammar::Call<'_>, wanted: &str, help: &str) -> Result<(), SyntaxError> {
    match written.object {
        Some(object) if object.text == wanted => Ok(()),
        Some(object) => {
            let message = format!("`{}` acts on `{wanted}`, not on `{}`", written.verb.text, object.text);
            Err(SyntaxError::new(object.at, message, Some(help)))
        }
        None => Err(SyntaxError::new(written.verb.at, format!("`{}` needs its object", written.verb.text), Some(help))),
    }
}

fn known_keys(written: &grammar::Call<'_>, known: &[&str]) -> Result<(), SyntaxError> {
    let Some(arg) = written.args.iter().find(|arg| !known.contains(&arg.key.text)) else { return Ok(()) };
    let help = suggest::did_you_mean(arg.key.text, known).or_else(|| match known {
        [] => Some(format!("`{}` takes none", written.verb.text)),
        _ => Some(format!("known here: {}", known.join(", "))),
    });
    let message = format!("unknown argument `{}` of `{}`", arg.key.text, written.verb.text);
    Err(SyntaxError { at: arg.key.at, message, help })
}

fn find<'c, 't>(written: &'c grammar::Call<'t>, key: &str) -> Option<&'c Arg<'t>> {
    written.args.iter().find(|arg| arg.key.text == key)
}

/// The value of an argument that is a name.
fn unsigned_name<'t>(arg: &Arg<'t>, help: &str) -> Result<Name<'t>, SyntaxError> {
    let Literal { at, text, kind } = arg.value;
    match (arg.sign, kind) {
        (Sign::None, LiteralKind::Name | LiteralKind::Number(..)) => Ok(Name { text, at }),
        _ => Err(SyntaxError::new(at, format!("`{}` is a name", arg.key.text), Some(help))),
    }
}

/// Does `name` follow the rule of channels, `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`?
fn is_channel(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.len() <= 64
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
