//! Which `scrape_url` a spec may name: http or https, a host in its plain form, no user. That is the form, which every
//! reader of a spec checks. To which addresses it may lead is the host's configuration, [`Networks`]: `ops check` and
//! `ops register` ask for it here, and the collector for each address that a name resolves to. Called by
//! [`super::sensors`].

// `core::net` is addresses as values; no socket comes near this room.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::lexer::SyntaxError;
use crate::model::network::{Inside, Networks};

const MAX_LENGTH: usize = 2_048;
const HELP: &str = "write `http://host/metrics`";

/// Where a URL leads, as far as its text says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'u> {
    host: Host<'u>,
    port: u16,
    /// Which character of the URL the host begins with.
    at: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Host<'u> {
    Address(IpAddr),
    Name(&'u str),
}

/// Checks the form of one URL; the error says at which character.
pub(super) fn parse(url: &str) -> Result<Place<'_>, SyntaxError> {
    if url.len() > MAX_LENGTH {
        return Err(SyntaxError::new(0, format!("longer than {MAX_LENGTH} bytes"), None));
    }
    if let Some(at) = url.chars().position(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(SyntaxError::new(at, "a blank or control character in a URL", Some(HELP)));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(SyntaxError::new(0, "no URL with a scheme", Some(HELP)));
    };
    let usual_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return Err(SyntaxError::new(0, "the scheme must be `http` or `https`", Some(HELP))),
    };
    let at = scheme.chars().count() + 3;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if authority.contains('@') {
        let help = "remove what stands before `@`; credentials belong to the collector";
        return Err(SyntaxError::new(at, "a user in a URL", Some(help)));
    }
    let (host, port) = split_port(authority).ok_or_else(|| SyntaxError::new(at, "no valid host", Some(HELP)))?;
    let port = port.map_or(Some(usual_port), |port| port.parse::<u16>().ok().filter(|port| *port > 0));
    let port = port.ok_or_else(|| SyntaxError::new(at, "no valid port", Some(HELP)))?;
    let host = read_host(host).map_err(|why| SyntaxError::new(at, why, Some("name a host by its name")))?;
    Ok(Place { host, port, at })
}

/// Does the text itself lead where nobody is allowed to? Names pass, but for those that are addresses by another name:
/// the collector checks the addresses that they resolve to.
pub(super) fn check(place: &Place<'_>, networks: &Networks) -> Result<(), SyntaxError> {
    let inside = match &place.host {
        Host::Address(address) => networks.check(*address, place.port).err(),
        Host::Name(name) => address_of(name).iter().filter_map(|ip| networks.check(*ip, place.port).err()).next(),
    };
    let Some(inside) = inside else { return Ok(()) };
    let name = if let (Inside::LinkLocal, Host::Name(_)) = (inside, &place.host) { Inside::Metadata } else { inside };
    let help = "name a public host, or allow the network under `[collect] allow` in ops.toml";
    Err(SyntaxError::new(place.at, name.name(), Some(help)))
}

/// The addresses that a name stands for everywhere.
fn address_of(name: &str) -> &'static [IpAddr] {
    const LOOPBACK: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    const METADATA: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254))];
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        &LOOPBACK
    } else if matches!(name.as_str(), "metadata.google.internal" | "metadata") {
        &METADATA
    } else {
        &[]
    }
}

fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (_, after) = rest.split_once(']')?;
            let host = &authority[..authority.len() - after.len()];
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    (!host.is_empty()).then_some((host, port))
}

/// An address or a name; the error is why it is neither.
fn read_host(host: &str) -> Result<Host<'_>, &'static str> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address = address.parse::<Ipv6Addr>().map_err(|_| "no valid IPv6 address")?;
        return Ok(Host::Address(address.into()));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err("no valid host name");
    }
    // `0x7f.1`, `2130706433`: clients read a last label that is a number as an IPv4 address.
    let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
        return Err("an address that is not written as four decimal numbers");
    }
    Ok(Host::Name(host))
}

#[cfg(test)]
mod tests {
    use super::{Networks, check, parse};

    /// What `ops check` says of a URL where `allowed` is allowed.
    fn lint(url: &str, allowed: &[&str]) -> Result<(), String> {
        let networks: Networks = allowed.iter().map(|entry| entry.parse().unwrap()).collect();
        let place = parse(url).map_err(|error| error.message)?;
        check(&place, &networks).map_err(|error| error.message)
    }

    #[test]
    fn names_and_public_addresses_pass() {
        for url in [
            "http://scanner.local/metrics",
            "https://scanner.local:9100/metrics?x=1",
            "HTTP://scanner",
            "http://node_exporter:9100",
            "http://8.8.8.8/",
            "http://[2001:4860:4860::8888]:80/",
            "http://100.com.",
        ] {
            assert_eq!(lint(url, &[]), Ok(()), "{url}");
        }
    }

    #[test]
    fn what_leads_inside_is_refused() {
        for url in [
            "file:///etc/passwd",
            "gopher://x/",
            "scanner.local/metrics",
            "http://",
            "http:///metrics",
            "http://user@host/",
            "http://user:pw@host/",
            "http://169.254.169.254/latest",
            "http://127.0.0.1/",
            "http://localhost:80/",
            "http://a.localhost./",
            "http://10.0.0.1/",
            "http://172.16.0.1/",
            "http://192.168.1.1/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://::ffff:127.0.0.1/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:7f00:1::]/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://[ff02::1]/",
            "http://[fe80::1%25eth0]/",
            "http://metadata.google.internal/",
            "http://host:0/",
            "http://host:99999/",
            "http://host name/",
            "http://ho\u{202e}st/",
            "http://host\n/",
        ] {
            assert!(lint(url, &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_allowed_passes_and_what_is_malformed_never_does() {
        for (url, allowed) in [
            ("http://127.0.0.1:9100/", "127.0.0.1/32:9100"),
            ("http://localhost:9100/", "127.0.0.1:9100"),
            ("https://10.1.2.3/", "10.0.0.0/8:443"),
            ("http://[fd00::1]/", "fd00::/8"),
            ("http://metadata.google.internal/", "169.254.0.0/16"),
        ] {
            assert_eq!(lint(url, &[allowed]), Ok(()), "{url}");
            assert!(lint(url, &["192.168.0.0/16"]).is_err(), "{url}");
            assert!(parse(url).is_ok(), "its form is right wherever it leads: {url}");
        }
        for url in ["http://2130706433/", "http://user@host/", "file:///x", "http://[fe80::1%25eth0]/"] {
            assert!(lint(url, &["0.0.0.0/0", "::/0"]).is_err(), "{url}");
        }
        assert!(lint("http://127.0.0.1:9101/", &["127.0.0.1/32:9100"]).is_err());
        assert_eq!(lint("http://metadata/", &["0.0.0.0/0"]), Err("the cloud's metadata service".to_owned()));
    }
}
