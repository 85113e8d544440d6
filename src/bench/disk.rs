//! What the broker has stored: batches as they were sent, packed or not. Only of a broker whose files we can see.

use std::fs;
use std::path::PathBuf;

use super::ground::Ground;

/// The log directory of a local Kafka.
#[derive(Clone, Debug)]
pub struct Disk(pub PathBuf);

/// Sizes of the log at one moment, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stored {
    /// Of the input, whole.
    input: u64,
    /// Of all that the processor writes.
    outputs: u64,
}

impl Disk {
    /// Now.
    pub fn stored(&self, ground: &Ground) -> Stored {
        let topics = &ground.topics;
        let outputs = [&topics.incidents, &topics.rollups, &topics.state, &topics.rejected];
        let sum = |topic: &String| (0..ground.partitions).map(|partition| self.log(topic, partition)).sum::<u64>();
        Stored { input: sum(&topics.metrics), outputs: outputs.into_iter().map(sum).sum() }
    }

    fn log(&self, topic: &str, partition: i32) -> u64 {
        let Ok(files) = fs::read_dir(self.0.join(format!("{topic}-{partition}"))) else { return 0 };
        let logs = files.flatten().filter(|file| file.path().extension().is_some_and(|ending| ending == "log"));
        logs.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    }
}

impl Stored {
    /// Bytes written for a byte read between `self` and `later`, while `share` (0 to 1) of the input was read.
    pub fn share_until(&self, later: &Self, share: f64) -> f64 {
        (later.outputs - self.outputs) as f64 / (later.input as f64 * share)
    }
}
