//! Identifiers as types, so that a service id is never mistaken for a sensor's name, and the rule that says
//! in which partition a service lives.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The service to which ticks belong. It breaks the naming rule of services, so nobody can register it.
pub const TICK_SERVICE: &str = "_ops";
/// The sensor of a tick.
pub const TICK_SENSOR: &str = "tick";

/// The id of a service: `[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`, and the Kafka key of everything about it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct ServiceId(Arc<str>);

impl ServiceId {
    /// Takes a name that [`is_service_id`] accepts; `None` otherwise.
    pub fn new(name: &str) -> Option<Self> {
        is_service_id(name).then(|| Self(name.into()))
    }

    /// Ourselves: what is about the pipeline or about all services. Nobody can register it.
    pub fn ops() -> Self {
        Self(TICK_SERVICE.into())
    }

    /// A part of ourselves, `_ops.{part}`; `None` if `part` could not be a service's id.
    pub fn of_ops(part: &str) -> Option<Self> {
        is_service_id(part).then(|| Self(format!("{TICK_SERVICE}.{part}").into()))
    }

    /// Is it ourselves, or a part?
    pub fn is_ops(&self) -> bool {
        self.0.starts_with('_')
    }

    /// What may stand on the bus: a service's id, or ours.
    fn read(name: &str) -> Option<Self> {
        match name.strip_prefix(TICK_SERVICE) {
            Some("") => Some(Self::ops()),
            Some(part) => Self::of_ops(part.strip_prefix('.')?),
            None => Self::new(name),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as text that is shared.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The one partition of `ops.metrics` in which this service is judged.
    pub fn home(&self, partitions: i32) -> i32 {
        home_partition(&self.0, partitions)
    }
}

impl<'de> Deserialize<'de> for ServiceId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        Self::read(&name).ok_or_else(|| serde::de::Error::custom(format_args!("{name:?} is no service id")))
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for ServiceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Does `name` follow the rule of service ids?
pub fn is_service_id(name: &str) -> bool {
    let bytes = name.as_bytes();
    matches!(bytes.first(), Some(b) if b.is_ascii_alphanumeric())
        && bytes.len() <= 128
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Does `name` follow the rule of Prometheus metric names, `[a-zA-Z_:][a-zA-Z0-9_:]*`, in at most 255 bytes?
pub fn is_sensor_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    matches!(bytes.first(), Some(b) if b.is_ascii_alphabetic() || matches!(b, b'_' | b':'))
        && bytes.len() <= 255
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
}

/// `(murmur2(key) & 0x7fffffff) mod partitions`, the rule of Java's default partitioner.
///
/// # Panics
/// If `partitions` is not positive.
pub fn home_partition(key: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has at least one partition");
    (murmur2(key.as_bytes()) & 0x7fff_ffff) as i32 % partitions
}

/// 32-bit murmur2 with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    for (i, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// SHA-256 of a spec's text as registered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema), schemars(with = "String"))]
pub struct SpecHash([u8; 32]);

impl SpecHash {
    /// The hash of `text`.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

/// The name of one generation of trouble: `{service}.{generation}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema), schemars(with = "String"))]
pub struct IncidentId {
    /// Whose trouble.
    pub service: ServiceId,
    /// 1 for the service's first incident ever, over all its causes.
    pub generation: u64,
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.generation)
    }
}

impl FromStr for IncidentId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.rsplit_once('.')
            .and_then(|(service, generation)| {
                Some(Self { service: ServiceId::read(service)?, generation: generation.parse().ok()? })
            })
            .ok_or_else(|| format!("{text:?} is no incident id; one looks like DCA_Luggage_Scanner.3"))
    }
}

/// Names one call of one step of one incident for ever: the same id is the same action.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema), schemars(with = "String"))]
pub struct ActionId([u8; 16]);

impl ActionId {
    /// The first 16 bytes of SHA-256 over `{incident}\n{step}\n{call}`.
    pub fn of(incident: &IncidentId, step: u32, call: u32) -> Self {
        Self::digest(&format!("{incident}\n{step}\n{call}"))
    }

    /// An action that no step asks for but an event does (`what`: `resolved`, `unknown`, ...): the first 16 bytes of
    /// SHA-256 over `{of}\n{what}\n{target}`. No step is called like an event, so it never is the id of a call.
    pub fn follow_up(of: &impl fmt::Display, what: &str, target: &str) -> Self {
        Self::digest(&format!("{of}\n{what}\n{target}"))
    }

    fn digest(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = text.as_bytes();
    if bytes.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (slot, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        let digit = |b: u8| (b as char).to_digit(16);
        *slot = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(out)
}

impl FromStr for SpecHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_hex(text).map(Self).ok_or_else(|| format!("{text:?} is no SHA-256 in hex"))
    }
}

impl FromStr for ActionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_hex(text).map(Self).ok_or_else(|| format!("{text:?} is no action id (32 hex digits)"))
    }
}

/// Ids travel as text, in JSON and in Avro.
macro_rules! serde_as_text {
    ($($id:ty),*) => {$(
        impl Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
serde_as_text!(SpecHash, IncidentId, ActionId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_kafkas() {
        // From Apache Kafka's own UtilsTest.testMurmur2.
        for (key, hash) in [
            ("21", -973932308_i32),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn action_ids_are_a_function_of_incident_step_and_call() {
        let incident: IncidentId = "svc.1".parse().unwrap();
        assert_eq!(ActionId::of(&incident, 1, 1).to_string(), "c9132587d062193e9fb37ffeb9ad2f2a");
    }

    #[test]
    fn names_that_could_confuse_a_reader_are_refused() {
        for bad in ["", "_ops", "a/b", "../x", "a b", "é", "a\u{202e}", &"x".repeat(129)] {
            assert!(ServiceId::new(bad).is_none(), "{bad:?}");
        }
        assert!(ServiceId::new("DCA_Luggage.Scanner-2").is_some());
        assert!(!is_sensor_name("1up") && is_sensor_name("node:up_total"));
    }

    #[test]
    fn what_is_ours_can_be_read_and_never_be_registered() {
        let part = ServiceId::of_ops("partition.3").unwrap();
        for (text, service) in [("_ops.0", ServiceId::ops()), ("_ops.partition.3.17", part)] {
            let id: IncidentId = text.parse().unwrap();
            assert_eq!((&id.service, id.to_string().as_str()), (&service, text));
            assert!(ServiceId::new(service.as_str()).is_none() && service.is_ops());
        }
        for bad in ["_opsx.1", "_ops..1", "_other.1", "_ops._ops.1"] {
            assert!(bad.parse::<IncidentId>().is_err(), "{bad}");
        }
    }
}
