//! Readings that were found away from home: each must come home once, as it was. Used by the judge alone.

use std::collections::HashMap;

use hms_ops::model::ids::home_partition;

use super::Stored;
use crate::rig::fleet::PARTITIONS;

/// The header of a forwarded reading: `partition/offset/append time` of where it was found.
pub const FORWARDED: &str = "ops-from";

/// A reading on its way home.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Forward {
    home: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Those that are to be seen once more: by where they were found.
#[derive(Default)]
pub struct Forwards {
    wanted: HashMap<String, Forward>,
    found: HashMap<String, Forward>,
    /// How many were wanted so far.
    pub count: u64,
}

impl Forwards {
    /// A record of `partition` that has to go home.
    pub fn want(&mut self, partition: i32, record: &Stored, service: &str) -> Result<(), String> {
        let from = format!("{partition}/{}/{}", record.offset, record.append);
        let forward = Forward {
            home: home_partition(service, PARTITIONS),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        };
        self.count += 1;
        match self.found.remove(&from) {
            None => drop(self.wanted.insert(from, forward)),
            Some(found) if found == forward => {}
            Some(found) => return Err(format!("{from} must be forwarded as {forward:?}, and was as {found:?}")),
        }
        Ok(())
    }

    /// A record of `partition` that says that it was forwarded.
    pub fn find(&mut self, partition: i32, record: &Stored) -> Result<(), String> {
        let from = record.header(FORWARDED).unwrap_or_default();
        let mut headers = record.headers.clone();
        headers.retain(|(name, _)| name != FORWARDED);
        let (key, value) = (record.key.clone(), record.value.clone());
        let forward = Forward { home: partition, key, value, headers };
        match self.wanted.remove(&from) {
            Some(wanted) if wanted == forward => Ok(()),
            Some(wanted) => Err(format!("{from} must be forwarded as {wanted:?}, and was as {forward:?}")),
            // What is forwarded may be read before the place where it was found is judged. Then, or never.
            None => match self.found.insert(from.clone(), forward) {
                None => Ok(()),
                Some(_) => Err(format!("{from} was forwarded twice")),
            },
        }
    }

    /// Nothing more will be found.
    pub fn finish(&self) -> Result<(), String> {
        if let Some((from, forward)) = self.wanted.iter().next() {
            return Err(format!("{} readings were not forwarded; {from}: {forward:?}", self.wanted.len()));
        }
        match self.found.iter().next() {
            Some((from, forward)) => Err(format!(
                "{} readings were forwarded twice, or out of nothing; {from}: {forward:?}",
                self.found.len()
            )),
            None => Ok(()),
        }
    }
}
