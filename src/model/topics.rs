//! The names of the topics.

/// Names of all topics; a prefix keeps several installations (or tests) apart on one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Readings and ticks.
    pub metrics: String,
    /// Specs.
    pub services: String,
    /// The life of incidents, action requests.
    pub incidents: String,
    /// What each series touched, cut by cut.
    pub rollups: String,
    /// Machines of each service, the last cut of each partition.
    pub state: String,
    /// Dead letters.
    pub rejected: String,
    /// The life of actions.
    pub actions: String,
    /// Health of scraped targets, beats of collectors.
    pub targets: String,
}

impl Topics {
    /// `ops.metrics` and so on, each behind `prefix` (empty for none).
    pub fn new(prefix: &str) -> Self {
        let name = |name: &str| format!("{prefix}{name}");
        Self {
            metrics: name("ops.metrics"),
            services: name("ops.services"),
            incidents: name("ops.incidents"),
            rollups: name("ops.rollups"),
            state: name("ops.state"),
            rejected: name("ops.metrics.rejected"),
            actions: name("ops.actions"),
            targets: name("ops.targets"),
        }
    }
}

impl Default for Topics {
    fn default() -> Self {
        Self::new("")
    }
}
