//! Which `scrape_url` a spec may name: http or https, and no address by which a spec could make the collector
//! read what its owner cannot. Names pass here; the collector checks the addresses that they resolve to. Called by
//! [`super::sensors`].

// `core::net` is addresses as values; no socket comes near this room.
use core::net::{Ipv4Addr, Ipv6Addr};

use super::lexer::SyntaxError;

const MAX_LENGTH: usize = 2_048;
const HELP: &str = "write `http://host/metrics`";

/// Checks one URL; the error says at which character.
pub(super) fn check(url: &str) -> Result<(), SyntaxError> {
    if url.len() > MAX_LENGTH {
        return Err(SyntaxError::new(0, format!("longer than {MAX_LENGTH} bytes"), None));
    }
    if let Some(at) = url.chars().position(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(SyntaxError::new(at, "a blank or control character in a URL", Some(HELP)));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(SyntaxError::new(0, "no URL with a scheme", Some(HELP)));
    };
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        return Err(SyntaxError::new(0, "the scheme must be `http` or `https`", Some(HELP)));
    }
    let at = scheme.chars().count() + 3;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if authority.contains('@') {
        let help = "remove what stands before `@`; credentials belong to the collector";
        return Err(SyntaxError::new(at, "a user in a URL", Some(help)));
    }
    let (host, port) = split_port(authority).ok_or_else(|| SyntaxError::new(at, "no valid host", Some(HELP)))?;
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(SyntaxError::new(at, "no valid port", Some(HELP)));
    }
    match refused(host) {
        None => Ok(()),
        Some(why) => Err(SyntaxError::new(at, why, Some("name a host by its name"))),
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

/// Why a host is refused.
fn refused(host: &str) -> Option<&'static str> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => refused_v6(address),
            Err(_) => Some("no valid IPv6 address"),
        };
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return refused_v4(address);
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Some("no valid host name");
    }
    // `0x7f.1`, `2130706433`: clients read a last label that is a number as an IPv4 address.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
        return Some("an address that is not written as four decimal numbers");
    }
    if name == "localhost" || name.ends_with(".localhost") {
        return Some("a loopback address");
    }
    if matches!(name.as_str(), "metadata.google.internal" | "metadata") {
        return Some("the cloud's metadata service");
    }
    None
}

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, ..] = address.octets();
    if address.is_link_local() {
        Some("a link-local address, where clouds keep their metadata")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if a == 0 {
        Some("an unspecified address")
    } else if address.is_multicast() || a >= 240 {
        Some("a multicast or reserved address")
    } else if address.is_private() || (a == 100 && b & 0xc0 == 64) {
        Some("an address of a private network")
    } else {
        None
    }
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    // IPv4 inside IPv6: mapped (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96), 6to4 (2002::/16).
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((high, low)),
        [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if address.is_unspecified() {
        Some("an unspecified address")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast or reserved address")
    } else if segments[0] & 0xffc0 == 0xfe80 {
        Some("a link-local address, where clouds keep their metadata")
    } else if segments[0] & 0xfe00 == 0xfc00 {
        Some("an address of a private network")
    } else if let Some((high, low)) = embedded {
        refused_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::check;

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
            assert_eq!(check(url), Ok(()), "{url}");
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
            assert!(check(url).is_err(), "{url}");
        }
    }
}
