//! A fleet of its own for each test: topics behind a random prefix, specs, readings, and `ops process` as child
//! processes that can be stopped in order or killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hms_ops::bus::{self, Admin, Committed, Offsets, Producer, Record, Settings, TopicSpec};
use hms_ops::codec;
use hms_ops::model::ServiceId;
use hms_ops::model::ids::home_partition;
use hms_ops::model::reading::Reading;
use hms_ops::model::registration::Registration;
use hms_ops::model::topic_files::{Overrides, declared};
use hms_ops::model::topics::Topics;
use hms_ops::torture::{Point, Sabotage};

use super::cluster::{PATIENCE, settings, unique};

/// Partitions of every topic.
pub const PARTITIONS: i32 = 4;

/// Topics, a consumer group, and a producer of readings and specs.
pub struct Fleet {
    /// Goes before the name of every topic.
    pub prefix: String,
    /// The topics.
    pub topics: Topics,
    /// The group of all its processors.
    pub group: String,
    /// Append times of `ops.metrics` are those of the producer.
    simulated: bool,
    /// Where it lives.
    pub settings: Settings,
    producer: Producer,
    admin: Admin,
    /// The logs of the processes outlive it.
    kept: AtomicBool,
}

impl Fleet {
    /// The declared topics, with four partitions each.
    pub fn new(name: &str) -> Self {
        Self::with_metrics(name, settings(), false, &[])
    }

    /// The same, on a cluster of the test's own.
    pub fn on(brokers: &str, name: &str) -> Self {
        Self::with_metrics(name, Settings::new(brokers, "hms-ops-test"), false, &[])
    }

    /// The same, but the append times of `ops.metrics` are the producer's: years pass in seconds.
    pub fn simulated(name: &str) -> Self {
        // What is stamped long ago would be deleted at once by its age.
        Self::with_metrics(name, settings(), true, &[("message.timestamp.type", "CreateTime"), ("retention.ms", "-1")])
    }

    fn with_metrics(name: &str, settings: Settings, simulated: bool, configs: &[(&str, &str)]) -> Self {
        let prefix = format!("{}.", unique(name));
        let topics = Topics::new(&prefix);
        let admin = Admin::new(&settings).unwrap();
        let overrides = Overrides { prefix: prefix.clone(), partitions: Some(PARTITIONS), replication: Some(1) };
        for mut topic in declared(&overrides) {
            if topic.name == topics.metrics {
                topic.config.extend(configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            }
            let spec = TopicSpec {
                name: topic.name,
                partitions: topic.partitions,
                replication: topic.replication,
                configs: topic.config,
            };
            assert!(admin.create_topic(&spec).unwrap(), "{} was there", spec.name);
        }
        let producer = Producer::new(&settings, 10_000).unwrap();
        let group = format!("{prefix}processor");
        Self { group, prefix, topics, simulated, settings, producer, admin, kept: AtomicBool::new(false) }
    }

    /// Registers a spec: publishes it as `ops register` does.
    pub fn register(&self, text: &str) {
        let spec = hms_ops::spec::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")).spec;
        let registration = Registration {
            service: spec.id.clone(),
            owner: spec.owner.to_string(),
            text: text.to_owned(),
            registered_at: now_ms(),
            by: "test".to_owned(),
        };
        self.publish(&self.topics.services, &spec.id, Some(&codec::service::encode(&registration)));
    }

    /// Unregisters a service.
    pub fn unregister(&self, id: &str) {
        self.publish(&self.topics.services, &ServiceId::new(id).unwrap(), None);
    }

    fn publish(&self, topic: &str, id: &ServiceId, value: Option<&[u8]>) {
        let key = Some(id.as_str().as_bytes());
        let record = Record { topic, partition: id.home(PARTITIONS), key, value, ..Record::default() };
        self.producer.send(&record, PATIENCE).unwrap();
        self.flush();
    }

    /// Queues a reading that is measured now, for its home partition.
    pub fn emit(&self, service: &str, sensor: &str, value: f64) {
        self.emit_at(service, sensor, now_ms(), value);
    }

    /// Queues a reading of the event time `ts`, which is also its append time where time is simulated.
    pub fn emit_at(&self, service: &str, sensor: &str, ts: i64, value: f64) {
        self.emit_to(home_partition(service, PARTITIONS), service, sensor, ts, value);
    }

    /// The same, for a partition of the caller's choice.
    pub fn emit_to(&self, partition: i32, service: &str, sensor: &str, ts: i64, value: f64) {
        let reading =
            Reading { service: service.into(), sensor: sensor.into(), ts, value, attributes: BTreeMap::new() };
        let value = codec::reading::encode(&reading);
        self.append(partition, ts, Some(service.as_bytes()), Some(&value), &[]);
    }

    /// Queues any bytes for a partition. `append` is the append time where time is simulated.
    pub fn append(
        &self,
        partition: i32,
        append: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        self.try_append(partition, append, key, value, headers).unwrap();
    }

    /// The same, for what the client may refuse.
    pub fn try_append(
        &self,
        partition: i32,
        append: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Result<(), bus::Error> {
        let timestamp_ms = self.simulated.then_some(append);
        let record = Record { topic: &self.topics.metrics, partition, key, value, headers, timestamp_ms };
        self.producer.send(&record, PATIENCE)
    }

    /// Waits until everything that was queued is acknowledged.
    pub fn flush(&self) {
        let flushed = self.producer.flush(PATIENCE);
        assert!(flushed.is_complete(), "{flushed:?}");
    }

    /// Starts `ops process` under a static name, with one worker.
    pub fn start(&self, instance: &str) -> Ops {
        self.start_with(instance, &[])
    }

    /// The same, with further arguments.
    pub fn start_with(&self, instance: &str, more: &[&str]) -> Ops {
        self.start_in(instance, more, &[])
    }

    /// The same, to die at a point; see [`hms_ops::torture`].
    pub fn start_to_crash(&self, instance: &str, at: Point, times: u32) -> Ops {
        self.start_in(instance, &[], &[("OPS_CRASH_AT", &format!("{}:{times}", at.name()))])
    }

    /// The same, without a guard.
    pub fn start_without(&self, instance: &str, guard: Sabotage) -> Ops {
        self.start_in(instance, &[], &[("OPS_SABOTAGE", guard.name())])
    }

    /// The same, with further arguments and environment.
    pub fn start_in(&self, instance: &str, more: &[&str], environment: &[(&str, &str)]) -> Ops {
        self.start_at(self.settings.brokers(), instance, more, environment)
    }

    /// The same, for a process that finds the cluster at another address.
    pub fn start_at(&self, brokers: &str, instance: &str, more: &[&str], environment: &[(&str, &str)]) -> Ops {
        let mut command = ops();
        command.args(["process", "--brokers", brokers, "--topic-prefix", &self.prefix, "--group", &self.group]);
        command.args(["--instance", instance]).args(more);
        if self.simulated {
            command.arg("--simulated-time");
        }
        command.envs(environment.iter().copied());
        Ops::spawn(command, kept_file(&format!("{}{instance}.log", self.prefix)))
    }

    /// Waits until the group has committed everything that `ops.metrics` holds now.
    pub fn wait_until_caught_up(&self) {
        let ends = self.ends();
        self.wait_for_commits(|partition, committed| ends[partition] == 0 || committed >= Some(ends[partition]));
    }

    /// Waits until the group has committed, for every partition, something that was appended after now.
    pub fn wait_until_beyond_now(&self) {
        let ends = self.ends();
        self.wait_for_commits(|partition, committed| committed > Some(ends[partition]));
    }

    fn wait_for_commits(&self, done: impl Fn(usize, Option<i64>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let committed = self.committed();
            if committed.iter().enumerate().all(|(partition, (offset, _))| done(partition, *offset)) {
                return;
            }
            assert!(Instant::now() < deadline, "{}: {committed:?} is committed of {:?}", self.prefix, self.ends());
            // Nothing tells of a commit.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The end of every partition of `ops.metrics`.
    pub fn ends(&self) -> Vec<i64> {
        let offsets = Offsets::new(&self.settings).unwrap();
        let end = |partition| offsets.watermarks(&self.topics.metrics, partition).unwrap().high;
        (0..PARTITIONS).map(end).collect()
    }

    /// Waits until two processes own two partitions each.
    pub fn wait_until_shared(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let owners = self.owners();
            let mut each = owners.clone();
            each.sort();
            each.dedup();
            if owners.len() == 4 && each.len() == 2 && owners.iter().filter(|owner| **owner == each[0]).count() == 2 {
                return;
            }
            assert!(Instant::now() < deadline, "{}: the owners are {owners:?}", self.prefix);
            // Nothing tells of a commit.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Under which name each partition that was ever committed was committed last.
    pub fn owners(&self) -> Vec<String> {
        self.committed().into_iter().filter_map(|(_, metadata)| writer(&metadata)).collect()
    }

    /// Under which name each partition was committed last; does not wait for transactions that are open now.
    pub fn writers(&self) -> Vec<Option<String>> {
        let partitions: Vec<i32> = (0..PARTITIONS).collect();
        let found = self.admin.unstable_group_offsets(&self.group, &self.topics.metrics, &partitions);
        found.unwrap().into_iter().map(|found| writer(&found.metadata)).collect()
    }

    /// What the group has committed for each partition, `None` where it has not.
    pub fn committed(&self) -> Vec<(Option<i64>, String)> {
        let offsets = patient_offsets(&self.admin, &self.group, &self.topics.metrics);
        offsets.into_iter().map(|found| (found.offset, found.metadata)).collect()
    }
}

/// What a group has committed. Open transactions are waited for, and a broker that is away.
pub fn patient_offsets(admin: &Admin, group: &str, topic: &str) -> Vec<Committed> {
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match admin.group_offsets(group, topic, &partitions) {
            Ok(offsets) => return offsets,
            Err(error) => assert!(Instant::now() < deadline, "{group}, {topic}: {error}"),
        }
    }
}

impl Fleet {
    /// The logs of the processes stay, whatever happens. Says where.
    pub fn keep_logs(&self) -> String {
        self.kept.store(true, Ordering::Relaxed);
        kept_file(&format!("{}*.log", self.prefix)).display().to_string()
    }
}

/// The transactional id in the metadata of a commit.
fn writer(metadata: &str) -> Option<String> {
    let fields: serde_json::Value = serde_json::from_str(metadata).ok()?;
    Some(fields["writer"].as_str()?.to_owned())
}

/// What the processes said is of interest only if the test fails.
impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() || self.kept.load(Ordering::Relaxed) {
            return;
        }
        for file in std::fs::read_dir(kept_directory()).unwrap().flatten() {
            if file.file_name().to_string_lossy().starts_with(&self.prefix) {
                // Whoever cleans the directory at the same time has the same aim.
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

/// A file that outlives a test that fails.
pub fn kept_file(name: &str) -> PathBuf {
    kept_directory().join(name)
}

fn kept_directory() -> PathBuf {
    option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// The program `ops`: the one beside a test, else this program, which is `ops` too if its first argument says so.
pub fn ops() -> Command {
    match option_env!("CARGO_BIN_EXE_ops") {
        Some(path) => Command::new(path),
        None => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg("ops");
            command
        }
    }
}

/// A running `ops process`, or another of its modes. Killed when dropped, so that a test that fails leaves nothing behind.
pub struct Ops {
    child: Child,
    /// Shared by all lives under the same name.
    log: PathBuf,
    /// Where this life begins in it.
    begin: u64,
    /// How far [`Self::news`] has told of it.
    told: u64,
}

impl Ops {
    /// Starts a command; what it writes is appended to `log`.
    pub fn spawn(mut command: Command, log: PathBuf) -> Self {
        let output = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let begin = output_length(&log);
        Self { child: command.spawn().unwrap(), log, begin, told: begin }
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// SIGTERM, and waits for the end: the processor gives up what it owns in order.
    pub fn stop(self) {
        self.terminate();
        let (log, begin) = (self.log.clone(), self.begin);
        let status = self.wait();
        assert!(status.success(), "{status}\n{}", text_from(&log, begin));
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// SIGSTOP: stands still with all that it holds, and knows nothing of the time that passes.
    pub fn suspend(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to our own child, which was not waited for, so the number is still its own.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// SIGKILL: nothing is given up, no transaction ended.
    pub fn kill(mut self) {
        self.kill_now();
    }

    /// The same, for one whose place stays.
    pub fn kill_now(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, which somebody else has brought about.
    pub fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end\n{}\n{}", self.threads(), self.said());
            // A child's end can be waited for, but not with a bound.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where its threads stand, for messages; nothing without gdb.
    fn threads(&self) -> String {
        let pid = self.child.id().to_string();
        let output = Command::new("gdb").args(["-p", &pid, "-batch", "-ex", "thread apply all bt 25"]).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    /// Waits until it stands still at the point that `OPS_FREEZE_AT` names.
    pub fn wait_until_frozen(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let stat = format!("/proc/{}/stat", self.child.id());
        // The state follows the name, which is in brackets.
        let is_stopped = |text: &str| text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'));
        while !is_stopped(&std::fs::read_to_string(&stat).unwrap_or_default()) {
            assert!(self.is_alive() && Instant::now() < deadline, "it does not freeze\n{}", self.said());
            // A child that stands still can be waited for, but not with a bound.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Still running?
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The resident memory, bytes (INV-14).
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// What it wrote so far.
    pub fn said(&self) -> String {
        text_from(&self.log, self.begin)
    }

    /// The whole lines that it wrote since this was last asked.
    pub fn news(&mut self) -> String {
        let mut news = text_from(&self.log, self.told);
        news.truncate(news.rfind('\n').map_or(0, |end| end + 1));
        self.told += news.len() as u64;
        news
    }
}

impl Drop for Ops {
    fn drop(&mut self) {
        // Both are errors after `stop` and `kill`, and then there is nothing to be done.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.log.display(), self.said());
        }
    }
}

fn output_length(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |found| found.len())
}

/// The text of a file from a place on; nothing if there is none.
fn text_from(log: &Path, begin: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(begin))?;
        file.read_to_end(&mut bytes)
    });
    if read.is_ok() { String::from_utf8_lossy(&bytes).into_owned() } else { String::new() }
}

/// The host's clock, ms.
pub fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Service ids that begin with `name`, `count` of them for each partition, partition by partition.
pub fn ids(name: &str, count: usize) -> Vec<String> {
    let of = |partition| {
        (0..).map(|n| format!("{name}{n}")).filter(move |id| home_partition(id, PARTITIONS) == partition).take(count)
    };
    (0..PARTITIONS).flat_map(of).collect()
}
