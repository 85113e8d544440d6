//! Which cluster, and which of the client's settings a user may set.
//!
//! An allow-list: whatever exactly-once hangs on (`isolation.level`, `enable.auto.commit`, `transactional.id`,
//! ...) is set here and cannot be overridden. Secrets come from a file or from the environment, never as text.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::error::Error;
use super::frames::Schemas;
use crate::torture::{self, Sabotage};

/// How long a transaction may stay open before the cluster aborts it.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// After so long without a heartbeat a member's partitions go to the others.
const SESSION_TIMEOUT_MS: &str = "6000";

/// Settings that a user may pass through.
const ALLOWED: &[&str] = &[
    // Encryption and identity.
    "security.protocol",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.cipher.suites",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.kerberos.service.name",
    "sasl.kerberos.principal",
    "sasl.kerberos.keytab",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.token.endpoint.url",
    // The network.
    "broker.address.family",
    "client.dns.lookup",
    "client.rack",
    "connections.max.idle.ms",
    "metadata.max.age.ms",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    // Memory, batches, patience.
    "batch.size",
    "compression.type",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "linger.ms",
    "max.poll.interval.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
    "transaction.timeout.ms",
];

/// Settings that are secrets.
const SECRET: &[&str] = &["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"];

/// Which of [`ALLOWED`] belong to consumers alone; the client warns about them in a producer.
const CONSUMER_ONLY: &[&str] = &[
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

/// Which of them belong to producers alone.
const PRODUCER_ONLY: &[&str] = &[
    "batch.size",
    "compression.type",
    "linger.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "transaction.timeout.ms",
];

/// The cluster, who we are in its logs, and what the user wants set.
#[derive(Clone, Default)]
pub struct Settings {
    brokers: String,
    client_id: String,
    overrides: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    schemas: Option<Arc<dyn Schemas>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("overrides", &self.overrides)
            .field("secrets", &self.secrets.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl Settings {
    /// A cluster (`host:port[,host:port...]`) with nothing overridden. `client_id` appears in the brokers' logs.
    pub fn new(brokers: &str, client_id: &str) -> Self {
        Self { brokers: brokers.to_owned(), client_id: client_id.to_owned(), ..Self::default() }
    }

    /// Sets client settings on top of ours. A secret is given as `KEY.file = PATH`, or by the environment
    /// variable that [`secret_variable`] names.
    ///
    /// # Errors
    /// An unknown key, a secret in plain text, an unreadable secret file.
    pub fn with_overrides(
        mut self,
        overrides: &BTreeMap<String, String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        for (key, value) in overrides {
            let refused = |why: String| Err(Error::Setting { key: key.clone(), why });
            if SECRET.contains(&key.as_str()) {
                return refused(format!(
                    "is a secret; write `{key}.file` with the path of a file that holds it, or set {}",
                    secret_variable(key)
                ));
            }
            if let Some(secret) = key.strip_suffix(".file").filter(|secret| SECRET.contains(secret)) {
                match fs::read_to_string(value) {
                    Ok(text) => self.secrets.insert(secret.to_owned(), text.trim_end().to_owned()),
                    Err(error) => return refused(format!("cannot read {value}: {error}")),
                };
            } else if ALLOWED.contains(&key.as_str()) {
                self.overrides.insert(key.clone(), value.clone());
            } else {
                return refused(format!("is not one that may be set; those are {}", ALLOWED.join(", ")));
            }
        }
        for secret in SECRET {
            if let Some(value) = environment(&secret_variable(secret)) {
                self.secrets.insert((*secret).to_owned(), value);
            }
        }
        Ok(self)
    }

    /// The same where there is a schema registry: what is written names its schema by an id.
    #[must_use]
    pub fn with_schemas(self, schemas: Arc<dyn Schemas>) -> Self {
        Self { schemas: Some(schemas), ..self }
    }

    pub(super) fn schemas(&self) -> Option<&Arc<dyn Schemas>> {
        self.schemas.as_ref()
    }

    /// The cluster.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The same cluster under another name in its logs.
    #[must_use]
    pub fn named(&self, client_id: &str) -> Self {
        Self { client_id: client_id.to_owned(), ..self.clone() }
    }

    fn base(&self, foreign: &[&str]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("bootstrap.servers", &self.brokers).set("client.id", &self.client_id);
        // Topics are declared: one that a client made by asking for it would have as many partitions as the cluster likes.
        config.set("allow.auto.create.topics", "false");
        // The default of 10 s is longer than a broker takes to come back, and than a session lasts.
        config.set("reconnect.backoff.max.ms", "1000");
        for (key, value) in self.overrides.iter().filter(|(key, _)| !foreign.contains(&key.as_str())) {
            config.set(key, value);
        }
        for (key, value) in &self.secrets {
            config.set(key, value);
        }
        config
    }

    /// Puts `ours` into `config` unless the user has set it.
    fn defaults(&self, config: &mut ClientConfig, ours: &[(&str, &str)]) {
        for (key, value) in ours.iter().filter(|(key, _)| !self.overrides.contains_key(*key)) {
            config.set(*key, *value);
        }
    }

    /// What every consumer of ours has. State hangs on offsets, so offsets are never guessed
    /// (`auto.offset.reset=error`) and never committed behind our back.
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut config = self.base(PRODUCER_ONLY);
        // More that waits is more that has left the cache by the time it is read.
        // The default of a second for `fetch.queue.backoff.ms` is behind most reports of slow consumers.
        let ours = [("fetch.wait.max.ms", "50"), ("queued.min.messages", "20000")];
        self.defaults(&mut config, &ours);
        config
            .set("fetch.queue.backoff.ms", "5")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true");
        config
    }

    /// A member of a group. Without `read_committed` the client would not ask for stable committed offsets.
    pub(super) fn member(&self, group: &str, instance: Option<&str>) -> ClientConfig {
        let mut config = self.consumer();
        let ours = [
            // A member hears of a rebalance by its next heartbeat, and one that moves partitions takes two of them.
            ("session.timeout.ms", SESSION_TIMEOUT_MS),
            ("heartbeat.interval.ms", "500"),
            // Of a partition at once. The client's own MiB becomes 14,000 records, which are 5 MB with what it keeps of
            // each: by a quarter of it at a time there is less memory in use, and more of it still in the cache.
            ("fetch.message.max.bytes", "262144"),
        ];
        self.defaults(&mut config, &ours);
        config
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            // Counted as records by batch calls: see `holdings`.
            .set("enable.partition.eof", "false")
            .set("partition.assignment.strategy", "cooperative-sticky");
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        if torture::is_without(Sabotage::ReadUncommittedInput) {
            config.set("isolation.level", "read_uncommitted");
        }
        if torture::is_without(Sabotage::AutoCommit) {
            config.set("enable.auto.commit", "true").set("enable.auto.offset.store", "true");
            config.set("auto.commit.interval.ms", "100");
        }
        config
    }

    /// A producer that loses nothing and repeats nothing within its session.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.base(CONSUMER_ONLY);
        config.set("enable.idempotence", "true").set("acks", "all");
        config
    }

    /// A producer with a transaction. Transactions follow each other closely and meet CONCURRENT_TRANSACTIONS;
    /// the default back-off of 100 ms would be the floor of every commit. Its log tells of every connection that is
    /// lost, which its errors do not.
    pub(super) fn transactional(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.producer();
        let timeout = TRANSACTION_TIMEOUT.as_millis().to_string();
        // Rollups of one cut are much alike: packed they are a fraction. Nobody sees a record before its transaction is
        // committed, and the flush before that does not linger: until then batches fill.
        let ours = [
            ("transaction.timeout.ms", &*timeout),
            ("socket.timeout.ms", &timeout),
            ("compression.type", "lz4"),
            ("linger.ms", "100"),
        ];
        self.defaults(&mut config, &ours);
        config.set("transactional.id", transactional_id).set("retry.backoff.ms", "10");
        // Rollups are many. That all is well the flush says for all of them.
        config.set("delivery.report.only.error", "true");
        config.set("debug", "broker").set_log_level(RDKafkaLogLevel::Debug);
        config
    }

    /// For administration and metadata.
    pub(super) fn plain(&self) -> ClientConfig {
        let foreign = [CONSUMER_ONLY, PRODUCER_ONLY].concat();
        self.base(&foreign)
    }
}

/// The environment variable of a secret: `sasl.password` is `OPS_KAFKA_SASL_PASSWORD`.
pub fn secret_variable(key: &str) -> String {
    format!("OPS_KAFKA_{}", key.to_uppercase().replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overridden(key: &str, value: &str) -> Result<Settings, Error> {
        let overrides = [(key.to_owned(), value.to_owned())].into();
        Settings::new("localhost:1", "test").with_overrides(&overrides, |_| None)
    }

    #[test]
    fn what_exactly_once_hangs_on_cannot_be_overridden() {
        for key in ["isolation.level", "enable.auto.commit", "transactional.id", "auto.offset.reset", "acks", "typo"] {
            assert!(overridden(key, "x").is_err(), "{key}");
        }
        assert!(overridden("security.protocol", "SASL_SSL").is_ok());
    }

    #[test]
    fn a_secret_in_plain_text_is_refused_and_not_repeated() {
        let error = overridden("sasl.password", "hunter2").unwrap_err().to_string();
        assert!(error.contains("OPS_KAFKA_SASL_PASSWORD") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn secrets_come_from_files_and_the_environment_and_are_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        fs::write(&file, "hunter2\n").unwrap();
        let overrides = [("sasl.password.file".to_owned(), file.display().to_string())].into();
        let environment = |name: &str| (name == "OPS_KAFKA_SSL_KEY_PASSWORD").then(|| "hunter3".to_owned());
        let settings = Settings::new("localhost:1", "test").with_overrides(&overrides, environment).unwrap();
        let config = settings.producer();
        assert_eq!(config.get("sasl.password"), Some("hunter2"));
        assert_eq!(config.get("ssl.key.password"), Some("hunter3"));
        let shown = format!("{settings:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hunter"), "{shown}");
        assert!(overridden("sasl.password.file", "/nowhere/at/all").is_err());
    }

    #[test]
    fn each_client_gets_only_the_settings_that_concern_it() {
        let settings = overridden("session.timeout.ms", "9000").unwrap();
        assert_eq!(settings.producer().get("session.timeout.ms"), None);
        assert_eq!(settings.member("g", None).get("session.timeout.ms"), Some("9000"));
        assert_eq!(Settings::new("b", "c").member("g", Some("w1")).get("session.timeout.ms"), Some("6000"));
    }

    #[test]
    fn the_lists_agree() {
        let known = |key: &&&str| !ALLOWED.contains(*key);
        assert_eq!(CONSUMER_ONLY.iter().chain(PRODUCER_ONLY).find(known), None);
    }
}
