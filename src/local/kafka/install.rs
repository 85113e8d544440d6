//! Where the broker's program comes from: `KAFKA_HOME`, else the pinned release fetched once by Maven, else the
//! release's Docker image.
//!
//! What Maven fetched stays in a cache outside the repository (`$XDG_CACHE_HOME`, else `~/.cache`), made beside
//! its place and renamed into it, so that it is whole or not there.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use super::watchdog::Launch;
use super::{CLUSTER_ID, Error, Profile, VERSION, tail};

/// Kafka 4 needs at least this.
const OLDEST_JAVA: u32 = 17;

/// Something that can be started.
#[derive(Debug)]
pub(super) enum Distribution {
    /// Jars on this machine.
    Jars {
        /// The `java` to run.
        java: PathBuf,
        /// The directory of the jars.
        libs: PathBuf,
        /// Archive of loaded classes that halves the start (JVM application class data sharing); only in our cache.
        archive: Option<PathBuf>,
    },
    /// The image `apache/kafka`.
    Docker,
}

/// The first way that is open on this machine.
pub(super) fn find(progress: fn(&str)) -> Result<Distribution, Error> {
    let java = java();
    let mut tried = Vec::new();
    if let Some(home) = env::var_os("KAFKA_HOME").filter(|home| !home.is_empty()) {
        let libs = PathBuf::from(home).join("libs");
        match (&java, has_broker(&libs)) {
            (Ok(java), true) => return Ok(Distribution::Jars { java: java.clone(), libs, archive: None }),
            (Err(why), _) => tried.push(format!("KAFKA_HOME is set, but {why}")),
            (_, false) => tried.push(format!("KAFKA_HOME is set, but there is no kafka_*.jar in {}", libs.display())),
        }
        // What the user asked for by name is not replaced behind the user's back.
        return Err(Error::Nowhere { tried: tried.join("; ") });
    }
    match (java, cache()) {
        (Ok(java), Some(cache)) if has_broker(&cache.join("libs")) => return Ok(cached(java, &cache)),
        (Ok(java), Some(cache)) if answers("mvn", &["-v"]) => {
            fetch(&cache, progress)?;
            return Ok(cached(java, &cache));
        }
        (Ok(_), Some(_)) => tried.push("java is there, but not mvn".to_owned()),
        (Ok(_), None) => tried.push("neither XDG_CACHE_HOME nor HOME is set".to_owned()),
        (Err(why), _) => tried.push(why),
    }
    if answers("docker", &["version", "--format", "{{.Server.Version}}"]) {
        return Ok(Distribution::Docker);
    }
    tried.push("no docker engine answers".to_owned());
    Err(Error::Nowhere { tried: tried.join("; ") })
}

fn cached(java: PathBuf, cache: &Path) -> Distribution {
    Distribution::Jars { java, libs: cache.join("libs"), archive: Some(cache.join("classes.jsa")) }
}

/// `java` of `JAVA_HOME` or of the path, if it is new enough.
fn java() -> Result<PathBuf, String> {
    let java = match env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home).join("bin/java"),
        None => PathBuf::from("java"),
    };
    let output = Command::new(&java).arg("-version").output().map_err(|_| format!("{} not found", java.display()))?;
    match java_version(&String::from_utf8_lossy(&output.stderr)) {
        Some(version) if version >= OLDEST_JAVA => Ok(java),
        Some(version) => Err(format!("{} is version {version}, {OLDEST_JAVA} or newer is needed", java.display())),
        None => Err(format!("{} does not tell its version", java.display())),
    }
}

/// The major version in the output of `java -version`: `openjdk version "17.0.15" 2025-04-15`.
fn java_version(output: &str) -> Option<u32> {
    let version = output.split('"').nth(1)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn answers(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn has_broker(libs: &Path) -> bool {
    fs::read_dir(libs).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("kafka_2") && name.ends_with(".jar")
        })
    })
}

fn cache() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("hms-ops").join(format!("kafka-{VERSION}")))
}

/// Fetches the release and what it needs to run into `cache`. Other processes work in directories of their own;
/// the threads of this one wait for each other.
fn fetch(cache: &Path, progress: fn(&str)) -> Result<(), Error> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if has_broker(&cache.join("libs")) {
        return Ok(());
    }
    progress(&format!("fetching Apache Kafka {VERSION} by Maven into {} (once, about 54 MB)", cache.display()));
    let fresh = cache.with_file_name(format!("kafka-{VERSION}.new-{}", std::process::id()));
    fs::create_dir_all(&fresh).map_err(Error::io(format!("making {}", fresh.display())))?;
    let fetched = copy_dependencies(&fresh).and_then(|()| match fs::rename(&fresh, cache) {
        // Somebody else was faster; theirs is as good as ours.
        Err(_) if has_broker(&cache.join("libs")) => Ok(()),
        renamed => renamed.map_err(Error::io(format!("renaming {} to {}", fresh.display(), cache.display()))),
    });
    // There is something to remove only if the rename did not happen.
    let _ = fs::remove_dir_all(&fresh);
    fetched
}

fn copy_dependencies(directory: &Path) -> Result<(), Error> {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>hms.ops</groupId><artifactId>local-kafka</artifactId><version>1</version>\
         <packaging>pom</packaging><dependencies>{}{}{}</dependencies></project>\n",
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        dependency("org.slf4j", "slf4j-nop", "1.7.36"),
    );
    let path = directory.join("pom.xml");
    fs::write(&path, pom).map_err(Error::io(format!("writing {}", path.display())))?;
    let output = Command::new("mvn")
        .args(["--batch-mode", "--quiet", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg("-DoutputDirectory=libs")
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("running mvn"))?;
    match output.status.success() && has_broker(&directory.join("libs")) {
        true => Ok(()),
        false => Err(Error::Fetch { output: said(&output) }),
    }
}

/// The end of what a program said on either stream.
fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    tail(&format!("{}\n{}", text(&output.stdout).trim(), text(&output.stderr).trim()))
}

impl Distribution {
    pub(super) fn is_container(&self) -> bool {
        matches!(self, Self::Docker)
    }

    /// Prepares `scratch` and says how to start and end the broker.
    pub(super) fn launch(
        &self,
        scratch: &Path,
        properties: &BTreeMap<String, String>,
        port: u16,
        profile: Profile,
    ) -> Result<Launch, Error> {
        match self {
            Self::Jars { java, libs, archive } => {
                let file = scratch.join("server.properties");
                let text: String = properties.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
                fs::write(&file, text).map_err(Error::io(format!("writing {}", file.display())))?;
                format_storage(java, libs, &file)?;
                Ok(launch_jars(java, libs, archive.as_deref(), scratch, &file, profile))
            }
            Self::Docker => Ok(launch_docker(properties, port, profile)),
        }
    }
}

/// Flags that make a short-lived JVM start fast.
const FAST: [&str; 3] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];

fn class_path(libs: &Path) -> OsString {
    libs.join("*").into_os_string()
}

fn format_storage(java: &Path, libs: &Path, properties: &Path) -> Result<(), Error> {
    let output = Command::new(java)
        .args(FAST)
        .arg("-cp")
        .arg(class_path(libs))
        .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
        .arg(properties)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(format!("running {}", java.display())))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(Error::Format { output: said(&output) }),
    }
}

fn launch_jars(
    java: &Path,
    libs: &Path,
    archive: Option<&Path>,
    scratch: &Path,
    file: &Path,
    profile: Profile,
) -> Launch {
    let mut command = vec![java.as_os_str().to_owned()];
    match profile {
        Profile::Small => command.extend(FAST.iter().chain(&["-Xms256m", "-Xmx512m"]).map(OsString::from)),
        Profile::Bench => command.extend(["-XX:+UseG1GC", "-Xms1g", "-Xmx1g"].map(OsString::from)),
    }
    let (mut stop, mut after) = ("kill -9 $pid".to_owned(), String::new());
    match archive {
        // Written by another collector it would be refused, and the benchmark's start does not matter.
        Some(archive) if profile == Profile::Small && archive.exists() => {
            command.push(option("-XX:SharedArchiveFile=", archive));
        }
        // The first broker on this machine leaves the archive to the next: the JVM writes it at an orderly end.
        Some(archive) if profile == Profile::Small => {
            command.push(option("-XX:ArchiveClassesAtExit=", &scratch.join("classes.jsa")));
            stop = "kill -TERM $pid".to_owned();
            // Named after the scratch directory, which no other broker has.
            let unique = scratch.file_name().unwrap_or_default().to_string_lossy();
            let fresh = archive.with_extension(format!("new-{unique}"));
            let (from, fresh, to) = (quoted(&scratch.join("classes.jsa")), quoted(&fresh), quoted(archive));
            // The scratch directory may be on another file system: copy, then rename.
            after = format!("[ -s {from} ] && cp {from} {fresh} && mv {fresh} {to}");
        }
        _ => {}
    }
    command.extend(["-cp".into(), class_path(libs), "kafka.Kafka".into(), file.as_os_str().to_owned()]);
    Launch { command, stop, after }
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// One word for `sh`, whatever it holds.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// The image takes every property from the environment, formats its own storage, and ends with its container.
fn launch_docker(properties: &BTreeMap<String, String>, port: u16, profile: Profile) -> Launch {
    let name = format!("hms-ops-kafka-{}-{port}", std::process::id());
    let mut command: Vec<OsString> =
        ["docker", "run", "--rm", "--name", &name, "-p", &format!("127.0.0.1:{port}:{port}")]
            .map(OsString::from)
            .to_vec();
    let heap = match profile {
        Profile::Small => "-Xms256m -Xmx512m",
        Profile::Bench => "-Xms1g -Xmx1g",
    };
    let settings = properties
        .iter()
        .filter(|(key, _)| key.as_str() != "log.dirs")
        .map(|(key, value)| format!("KAFKA_{}={value}", key.to_uppercase().replace('.', "_")))
        .chain([format!("CLUSTER_ID={CLUSTER_ID}"), format!("KAFKA_HEAP_OPTS={heap}")]);
    command.extend(settings.flat_map(|setting| ["-e".into(), setting.into()]));
    command.push(format!("apache/kafka:{VERSION}").into());
    Launch { command, stop: format!("docker kill {name}"), after: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_java_are_read_as_they_are_printed() {
        for (output, version) in [
            ("openjdk version \"17.0.15\" 2025-04-15\n", Some(17)),
            ("java version \"1.8.0_392\"\n", Some(1)),
            ("openjdk version \"25-ea\" 2025-09-16\n", Some(25)),
            ("The operation couldn't be completed", None),
        ] {
            assert_eq!(java_version(output), version, "{output}");
        }
    }

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }

    #[test]
    fn in_docker_every_property_travels_by_environment_and_the_port_stays_on_loopback() {
        let properties = [("node.id", "1"), ("log.dirs", "/tmp/x")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let launch = launch_docker(&properties.into(), 4711, Profile::Small);
        let words: Vec<_> = launch.command.iter().map(|word| word.to_string_lossy()).collect();
        assert!(words.contains(&"KAFKA_NODE_ID=1".into()), "{words:?}");
        assert!(words.contains(&"127.0.0.1:4711:4711".into()), "{words:?}");
        assert!(!words.iter().any(|word| word.starts_with("KAFKA_LOG_DIRS")), "{words:?}");
    }

    #[test]
    fn the_first_broker_leaves_an_archive_of_classes_and_the_next_uses_it() {
        let root = tempfile::tempdir().unwrap();
        let archive = root.path().join("classes.jsa");
        let launch = |profile| {
            let at = root.path();
            let launch = launch_jars(Path::new("java"), at, Some(&archive), at, &at.join("p"), profile);
            let words: Vec<_> = launch.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            (words.join(" "), launch.stop)
        };
        let (first, stop) = launch(Profile::Small);
        assert!(first.contains("ArchiveClassesAtExit") && stop.contains("TERM"), "{first}");
        fs::write(&archive, "x").unwrap();
        let (next, stop) = launch(Profile::Small);
        assert!(next.contains("SharedArchiveFile") && stop.contains("-9"), "{next}");
        assert!(!launch(Profile::Bench).0.contains("Archive"));
    }
}
