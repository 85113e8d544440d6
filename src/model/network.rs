//! Which addresses a `scrape_url` may lead to: public ones, and of the networks inside only those that the host's
//! configuration names (`[collect] allow` in `ops.toml`). Pure: what a name resolves to, the collector finds out.
//!
//! Used twice by the same rule: by `ops check` and `ops register` for addresses that stand in a spec, and by the
//! collector for each address that a name resolves to, right before it connects to exactly that one.

// `core::net` is addresses as values; no socket comes near this room.
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use serde::{Deserialize, Deserializer};

/// Why an address needs to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// This machine.
    Loopback,
    /// RFC 1918, RFC 6598, RFC 4193.
    Private,
    /// 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// A single address at which a cloud answers with credentials.
    Metadata,
    /// "This host".
    Unspecified,
    /// No one host's address.
    Multicast,
}

impl Inside {
    /// In the words of a finding.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address",
            Self::Private => "an address of a private network",
            Self::LinkLocal => "a link-local address, where clouds keep their metadata",
            Self::Metadata => "the cloud's metadata service",
            Self::Unspecified => "an unspecified address",
            Self::Multicast => "a multicast or reserved address",
        }
    }

    /// What lies inside of what an address is, if it lies inside of anything.
    pub fn of(address: IpAddr) -> Option<Self> {
        match plain(address) {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Option<Self> {
        let [a, b, ..] = address.octets();
        if METADATA_V4.contains(&address) {
            Some(Self::Metadata)
        } else if address.is_link_local() {
            Some(Self::LinkLocal)
        } else if address.is_loopback() {
            Some(Self::Loopback)
        } else if a == 0 {
            Some(Self::Unspecified)
        } else if address.is_multicast() || a >= 240 {
            Some(Self::Multicast)
        } else if address.is_private() || (a == 100 && b & 0xc0 == 64) {
            Some(Self::Private)
        } else {
            None
        }
    }

    fn of_v6(address: Ipv6Addr) -> Option<Self> {
        let first = address.segments()[0];
        if address == METADATA_V6 {
            Some(Self::Metadata)
        } else if address.is_unspecified() {
            Some(Self::Unspecified)
        } else if address.is_loopback() {
            Some(Self::Loopback)
        } else if address.is_multicast() {
            Some(Self::Multicast)
        } else if first & 0xffc0 == 0xfe80 {
            Some(Self::LinkLocal)
        } else if first & 0xfe00 == 0xfc00 {
            Some(Self::Private)
        } else {
            None
        }
    }

    /// May an entry as wide as `network` allow it? Nobody allows a cloud's metadata by the way.
    fn is_named_by(self, network: &Network) -> bool {
        match (self, network.base) {
            (Self::LinkLocal, IpAddr::V4(_)) => network.prefix >= 16,
            (Self::LinkLocal, IpAddr::V6(_)) => network.prefix >= 10,
            (Self::Metadata, IpAddr::V4(_)) => network.prefix == 32,
            (Self::Metadata, IpAddr::V6(_)) => network.prefix == 128,
            (Self::Loopback | Self::Private | Self::Unspecified | Self::Multicast, _) => true,
        }
    }
}

/// Metadata outside of the link-local networks: Alibaba, Azure, Oracle; AWS over IPv6.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The IPv4 address inside an IPv6 one: mapped (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96), 6to4
/// (2002::/16); else the address itself.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if v6.is_unspecified() || v6.is_loopback() {
        return address;
    }
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => address,
    }
}

/// One entry: `10.0.0.0/8`, `127.0.0.1:9100`, `127.0.0.1/32:9100`, `fd00::/8`, `[::1]:9100`, `[fd00::/8]:9100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    /// Leading bits that must agree.
    prefix: u8,
    /// This port alone; every one if there is none.
    port: Option<u16>,
}

impl Network {
    fn contains(&self, address: IpAddr, port: u16) -> bool {
        let bits = match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => (base.to_bits() ^ address.to_bits()).leading_zeros(),
            (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits() ^ address.to_bits()).leading_zeros(),
            _ => return false,
        };
        bits >= u32::from(self.prefix) && self.port.is_none_or(|only| only == port)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no network; write 10.0.0.0/8, 127.0.0.1/32:9100 or [fd00::/8]:9100");
        let (network, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (network, rest) = rest.split_once(']').ok_or_else(wrong)?;
                (network, rest.strip_prefix(':').map(Some).or(rest.is_empty().then_some(None)).ok_or_else(wrong)?)
            }
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(network, port)| (network, Some(port))),
        };
        let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)).transpose()?;
        let (base, prefix) = network.split_once('/').map_or((network, None), |(base, prefix)| (base, Some(prefix)));
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(wrong)?,
        };
        Ok(Self { base, prefix, port })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.base, self.port) {
            (base, None) => write!(f, "{base}/{}", self.prefix),
            (IpAddr::V4(base), Some(port)) => write!(f, "{base}/{}:{port}", self.prefix),
            (IpAddr::V6(base), Some(port)) => write!(f, "[{base}/{}]:{port}", self.prefix),
        }
    }
}

/// The allow-list. Empty by default: public addresses alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// May this address be asked at this port?
    ///
    /// # Errors
    /// What it is, if it lies inside and no entry names it.
    pub fn check(&self, address: IpAddr, port: u16) -> Result<(), Inside> {
        let Some(inside) = Inside::of(address) else { return Ok(()) };
        let plain = plain(address);
        let names = |network: &Network| network.contains(plain, port) || network.contains(address, port);
        match self.0.iter().any(|network| names(network) && inside.is_named_by(network)) {
            true => Ok(()),
            false => Err(inside),
        }
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse::<Network>()).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(entries: &[&str]) -> Networks {
        entries.iter().map(|entry| entry.parse::<Network>().unwrap()).collect()
    }

    fn check(networks: &Networks, address: &str, port: u16) -> Result<(), Inside> {
        networks.check(address.parse().unwrap(), port)
    }

    #[test]
    fn without_entries_public_addresses_alone_are_allowed() {
        let none = Networks::default();
        for public in ["8.8.8.8", "100.128.0.1", "2001:4860:4860::8888", "64:ff9b::808:808", "192.0.2.1"] {
            assert_eq!(check(&none, public, 80), Ok(()), "{public}");
        }
        for (address, inside) in [
            ("127.0.0.1", Inside::Loopback),
            ("10.0.0.1", Inside::Private),
            ("172.31.255.255", Inside::Private),
            ("192.168.1.1", Inside::Private),
            ("100.64.0.1", Inside::Private),
            ("100.100.100.200", Inside::Metadata),
            ("168.63.129.16", Inside::Metadata),
            ("169.254.169.254", Inside::LinkLocal),
            ("0.0.0.0", Inside::Unspecified),
            ("224.0.0.1", Inside::Multicast),
            ("255.255.255.255", Inside::Multicast),
            ("::1", Inside::Loopback),
            ("::", Inside::Unspecified),
            ("::ffff:127.0.0.1", Inside::Loopback),
            ("::10.0.0.1", Inside::Private),
            ("64:ff9b::a9fe:a9fe", Inside::LinkLocal),
            ("2002:7f00:1::", Inside::Loopback),
            ("fe80::1", Inside::LinkLocal),
            ("fd00::1", Inside::Private),
            ("fd00:ec2::254", Inside::Metadata),
            ("ff02::1", Inside::Multicast),
        ] {
            assert_eq!(check(&none, address, 80), Err(inside), "{address}");
        }
    }

    #[test]
    fn an_entry_allows_its_network_and_its_port_and_nothing_beside_them() {
        let list = networks(&["10.0.0.0/8", "127.0.0.1/32:9100", "[::1]:9100", "fd00::/8"]);
        for (address, port) in
            [("10.255.0.1", 1), ("127.0.0.1", 9100), ("::1", 9100), ("fd12::1", 80), ("::ffff:10.0.0.1", 80)]
        {
            assert_eq!(check(&list, address, port), Ok(()), "{address}:{port}");
        }
        for (address, port) in [("11.0.0.1", 80), ("127.0.0.1", 9101), ("127.0.0.2", 9100), ("::1", 80)] {
            assert_eq!(check(&list, address, port).is_ok(), address == "11.0.0.1", "{address}:{port}");
        }
    }

    #[test]
    fn metadata_is_allowed_only_if_it_is_named() {
        let wide = networks(&["0.0.0.0/0", "::/0", "100.64.0.0/10"]);
        assert_eq!(check(&wide, "127.0.0.1", 80), Ok(()));
        for metadata in ["169.254.169.254", "100.100.100.200", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254"] {
            assert!(check(&wide, metadata, 80).is_err(), "{metadata}");
        }
        let named = networks(&["169.254.0.0/16", "100.100.100.200", "fe80::/10", "fd00:ec2::254"]);
        for metadata in ["169.254.169.254", "100.100.100.200", "fe80::1", "fd00:ec2::254"] {
            assert_eq!(check(&named, metadata, 80), Ok(()), "{metadata}");
        }
    }

    #[test]
    fn an_entry_is_read_as_it_is_shown_and_nonsense_is_refused() {
        for text in ["10.0.0.0/8", "127.0.0.1/32:9100", "fd00::/8", "[fd00::/8]:9100"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert_eq!("::1".parse::<Network>().unwrap().to_string(), "::1/128");
        for text in ["", "10", "10.0.0.0/33", "10.0.0.0/8:0", "10.0.0.0:x", "host:80", "[::1", "[::1]9", "::1/129"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
