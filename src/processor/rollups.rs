//! The rollups of a cut as they go out. Pure.
//!
//! Each is encoded where it is made, while its series is in the cache, and lies behind the one before it: a cut of
//! 100,000 series has as many, and they are looked at once.

use std::sync::Arc;

use crate::codec;
use crate::model::state::Rollup;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollups {
    /// Of each its service and where it ends.
    ends: Vec<(Arc<str>, usize)>,
    bytes: Vec<u8>,
}

impl Rollups {
    /// As large as most are, bytes.
    const USUAL: usize = 320;

    /// With room for so many.
    pub fn with_capacity(count: usize) -> Self {
        Self { ends: Vec::with_capacity(count), bytes: Vec::with_capacity(count * Self::USUAL) }
    }

    /// Adds one.
    pub fn push(&mut self, rollup: &Rollup) {
        codec::state::encode_rollup(rollup, &mut self.bytes);
        self.ends.push((rollup.service.clone(), self.bytes.len()));
    }

    /// The service and the value on `ops.rollups` of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut begin = 0;
        self.ends.iter().map(move |(service, end)| (&**service, &self.bytes[std::mem::replace(&mut begin, *end)..*end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rollup_is_there_with_its_service_and_as_it_was() {
        let rollup = |name: &str, n| Rollup { service: name.into(), n, ..Rollup::default() };
        let all = [rollup("a", 1), rollup("bc", 1 << 40), rollup("", 3)];
        let mut rollups = Rollups::default();
        all.iter().for_each(|rollup| rollups.push(rollup));
        let found: Vec<_> = rollups.iter().collect();
        assert_eq!(found.iter().map(|(service, _)| *service).collect::<Vec<_>>(), ["a", "bc", ""]);
        assert_eq!(found.iter().map(|(_, value)| codec::state::decode_rollup(value).unwrap()).collect::<Vec<_>>(), all);
    }
}
