//! The broker's part. One on this machine takes its time from the same cores as what is measured, and a good deal of it to
//! compile itself if it was just started: its compilers are told apart.

use super::figure::BrokerPart;
use super::proc;
use crate::local::kafka::LocalKafka;

/// The threads of a JVM that compile.
const COMPILERS: [&str; 2] = ["C1 Compiler", "C2 Compiler"];

/// A broker on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Broker {
    pid: u32,
}

/// What it has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct BrokerUsage {
    /// Processor time, s.
    cpu_s: f64,
    /// What of it was compiling, s.
    compiling_s: f64,
}

impl Broker {
    /// One of ours, if its process can be seen.
    pub fn of(kafka: &LocalKafka) -> Option<Self> {
        (!kafka.is_in_container()).then(|| kafka.pid().ok()).flatten().map(|pid| Self { pid })
    }

    /// What it has used so far; none if its process is gone.
    pub fn usage(&self) -> Option<BrokerUsage> {
        let compiling_s = proc::threads_cpu_s(self.pid, &COMPILERS);
        proc::stat(self.pid).map(|stat| BrokerUsage { cpu_s: stat.cpu_s, compiling_s })
    }
}

impl BrokerUsage {
    /// From then to now, over so many readings in so many seconds.
    pub fn since(self, then: Self, readings: u64, seconds: f64) -> BrokerPart {
        BrokerPart {
            cpu_s_per_million: (self.cpu_s - then.cpu_s) / readings as f64 * 1e6,
            compiling_cores: (self.compiling_s - then.compiling_s) / seconds,
        }
    }
}
