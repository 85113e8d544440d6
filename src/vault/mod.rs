//! HMS-DTA, the archive: one log per (topic, partition), kept as segments that are never changed.
//!
//! ```text
//! VAULT/ops.incidents/3/00000000000000000000    positions [0, 118)    Avro object container files;
//!                       00000000000000000118    positions [118, 140)  `to` is in the container's metadata
//! VAULT/schemas/IncidentEvent-0123456789abcdef.avsc                   what the records are written in
//! ```
//!
//! Why two archivers cannot spoil a log: a segment is only written at a position where the log already ends
//! (0, or the `to` of a durable segment), and its name is that position, created only if absent. So every
//! segment has exactly one successor and the log is a chain, whoever wrote its links. Who loses a race throws
//! its own draft away and goes on behind the winner's.
//!
//! The archiver actor appends ([`archive`] cuts its stream into drafts), `ops dta` reads ([`find`]). The vault
//! knows neither the bus nor the processor. A Merkle tree over the entries and signed checkpoints have their
//! place here later; nothing of them is promised yet.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use crate::torture::{self, Sabotage};

pub mod archive;
mod chain;
pub mod decode;
mod disk;
pub mod error;
pub mod find;
pub mod json;
pub mod schemas;
pub mod segment;

pub use error::VaultError;
pub use segment::{Entry, Header, LogId, Segment, SegmentDraft};

/// The folder of the schemas; no log can have this topic.
const SCHEMAS: &str = "schemas";

/// A container's metadata fit in here with a wide margin: what grows in them is the topic's name alone.
const HEADER_BYTES: u64 = 4096;

/// What became of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It is in the vault, durable: its offsets may be committed.
    Written,
    /// Another segment begins there (another archiver's, or one's own that was stored although an error came
    /// back). It is durable. Throw the draft away and go on at its end.
    LostRace {
        /// The first position behind that segment.
        existing_to: i64,
    },
}

/// An open vault. Share it behind an `Arc`; all calls may run at the same time, inside a tokio runtime.
pub struct Vault {
    store: LocalFileSystem,
    root: PathBuf,
    writing: Option<Writing>,
}

/// What only a vault opened for writing has.
struct Writing {
    /// Held shared as long as this vault may have temporary files.
    _lock: std::fs::File,
    /// Where each log ends, as far as this process has made or found it durable. Rivals may be further.
    ends: Mutex<HashMap<LogId, i64>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("root", &self.root).field("writable", &self.writing.is_some()).finish()
    }
}

impl Vault {
    /// Opens a vault for reading; it must exist, and nothing in it is touched. `location` is a directory or a
    /// `file://` URL.
    pub fn open(location: &str) -> Result<Self, VaultError> {
        let root = disk::directory(location)?;
        disk::must_be_there(&root).map_err(|source| VaultError::Open { location: location.to_owned(), source })?;
        let store = Self::store(location, &root)?;
        Ok(Self { store, root, writing: None })
    }

    /// Opens a vault for writing: makes it if it is not there, and removes what a crash left half-written
    /// (unless another process is writing). Blocks on the disk for a moment.
    pub fn open_for_append(location: &str) -> Result<Self, VaultError> {
        let root = disk::directory(location)?;
        let open = |source| VaultError::Open { location: location.to_owned(), source };
        disk::create_durably(&root).map_err(open)?;
        let lock = disk::lock_and_clean(&root).map_err(open)?;
        let store = Self::store(location, &root)?.with_fsync(true);
        Ok(Self { store, root, writing: Some(Writing { _lock: lock, ends: Mutex::default() }) })
    }

    fn store(location: &str, root: &std::path::Path) -> Result<LocalFileSystem, VaultError> {
        LocalFileSystem::new_with_prefix(root)
            .map_err(|error| VaultError::Open { location: location.to_owned(), source: std::io::Error::other(error) })
    }

    /// Stores a draft. On `Ok` what it says is durable, file and directory; on an error nothing is promised and
    /// the same draft may be appended again. Dropping the future is safe: the draft is then stored or not.
    pub async fn append(&self, draft: &SegmentDraft) -> Result<Appended, VaultError> {
        let writing = self.writing()?;
        draft.check()?;
        let end = match writing.end(&draft.log) {
            Some(end) if end >= draft.from => end,
            _ => self.end(&draft.log).await?.unwrap_or(0),
        };
        let path = segment::path(&draft.log, draft.from);
        if draft.from < end {
            return self.yield_to(&path, draft, end).await;
        }
        if draft.from > end {
            return Err(VaultError::Misplaced { log: draft.log.clone(), from: draft.from, end });
        }
        let bytes = segment::encode(draft).map_err(|why| VaultError::BadDraft {
            log: draft.log.clone(),
            from: draft.from,
            why,
        })?;
        let mode = match torture::is_without(Sabotage::NoCreateIfAbsent) {
            false => PutMode::Create,
            true => PutMode::Overwrite,
        };
        match self.store.put_opts(&Path::from(path.as_str()), bytes.into(), mode.into()).await {
            Ok(_) => {
                writing.set_end(&draft.log, draft.to);
                Ok(Appended::Written)
            }
            Err(object_store::Error::AlreadyExists { .. }) => self.yield_to(&path, draft, end).await,
            Err(source) => Err(VaultError::Write { path, source }),
        }
    }

    /// The segment at `path` was there first: makes sure that it is durable (its writer may have died before it
    /// was), and says where it ends.
    async fn yield_to(&self, path: &str, draft: &SegmentDraft, end: i64) -> Result<Appended, VaultError> {
        let existing = match self.describe(path).await {
            Err(VaultError::Read { source: object_store::Error::NotFound { .. }, .. }) => {
                return Err(VaultError::Misplaced { log: draft.log.clone(), from: draft.from, end });
            }
            other => other?,
        };
        self.settle(path).await?;
        self.writing()?.set_end(&draft.log, end.max(existing.to));
        Ok(Appended::LostRace { existing_to: existing.to })
    }

    /// The first position of a log that is not in the vault: where its archiver goes on. `None` if the vault has
    /// nothing of it (its first segment begins at 0). A gap or an overlap between segments is an error.
    pub async fn end(&self, log: &LogId) -> Result<Option<i64>, VaultError> {
        let segments = self.segments(log).await?;
        let end = chain::check(&segments)?;
        if let (Some(writing), Some(last), Some(end)) = (&self.writing, segments.last(), end) {
            // What an archiver before us linked but did not live to sync must not be built upon.
            self.settle(&last.path()).await?;
            writing.set_end(log, end);
        }
        Ok(end)
    }

    /// The logs in the vault, ordered.
    pub async fn logs(&self) -> Result<Vec<LogId>, VaultError> {
        let mut logs = Vec::new();
        for topic in self.folders(None).await? {
            let Some(name) = topic.filename().filter(|name| *name != SCHEMAS) else { continue };
            let partitions = self.folders(Some(&topic)).await?;
            logs.extend(partitions.iter().filter_map(|path| Some(LogId::new(name, path.filename()?.parse().ok()?))));
        }
        logs.sort();
        Ok(logs)
    }

    /// The segments of a log by position, as they describe themselves; whether they fit together is
    /// [`Vault::end`]'s question. Temporary files and files with other names than positions are none.
    pub async fn segments(&self, log: &LogId) -> Result<Vec<Segment>, VaultError> {
        let folder = Path::from(log.to_string());
        let listed = self.store.list(Some(&folder)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|source| VaultError::Read { path: log.to_string(), source })?;
        let is_position = |path: &Path| {
            path.parts_count() == folder.parts_count() + 1
                && path.filename().is_some_and(|name| name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit()))
        };
        let mut paths: Vec<_> = listed.into_iter().map(|object| object.location).filter(is_position).collect();
        paths.sort();
        let mut segments = Vec::with_capacity(paths.len());
        for path in paths {
            segments.push(self.describe(path.as_ref()).await?);
        }
        Ok(segments)
    }

    /// All records of a segment, byte for byte, checked against what the segment says about itself.
    pub async fn read(&self, segment: &Segment) -> Result<Vec<Entry>, VaultError> {
        let path = segment.path();
        let bytes = self.bytes(&path).await?;
        match segment::decode(&bytes) {
            Ok((found, entries)) if found == *segment => Ok(entries),
            Ok(_) => Err(VaultError::Damaged { path, why: "it is another segment than it was".into() }),
            Err(why) => Err(VaultError::Damaged { path, why }),
        }
    }

    /// What the segment at `path` says about itself; it must be of the log and position that its name says.
    async fn describe(&self, path: &str) -> Result<Segment, VaultError> {
        let location = Path::from(path);
        let read = |source| VaultError::Read { path: path.to_owned(), source };
        let first = match self.store.get_range(&location, 0..HEADER_BYTES).await {
            Ok(first) => first,
            // An empty file has no range: the whole of it says so.
            Err(object_store::Error::Generic { .. }) => self.bytes(path).await?.into(),
            Err(source) => return Err(read(source)),
        };
        match segment::decode_header(&first) {
            Ok(segment) if segment.path() == path => Ok(segment),
            Ok(segment) => {
                let why = format!("it is the segment {}", segment.path());
                Err(VaultError::Damaged { path: path.to_owned(), why })
            }
            Err(why) => Err(VaultError::Damaged { path: path.to_owned(), why }),
        }
    }

    async fn bytes(&self, path: &str) -> Result<Vec<u8>, VaultError> {
        let read = |source| VaultError::Read { path: path.to_owned(), source };
        let object = self.store.get(&Path::from(path)).await.map_err(read)?;
        Ok(object.bytes().await.map_err(read)?.into())
    }

    /// Stores an object, durably, unless it is there already.
    async fn create(&self, path: &str, payload: impl Into<PutPayload>) -> Result<(), VaultError> {
        self.writing()?;
        match self.store.put_opts(&Path::from(path), payload.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => self.settle(path).await,
            Err(source) => Err(VaultError::Write { path: path.to_owned(), source }),
        }
    }

    async fn folders(&self, of: Option<&Path>) -> Result<Vec<Path>, VaultError> {
        let path = of.map_or_else(|| "/".to_owned(), ToString::to_string);
        let listed = self.store.list_with_delimiter(of).await.map_err(|source| VaultError::Read { path, source })?;
        Ok(listed.common_prefixes)
    }

    /// Makes an object durable that somebody else may have stored: the object itself, and the directories
    /// from it up to the vault's.
    async fn settle(&self, path: &str) -> Result<(), VaultError> {
        let (root, relative) = (self.root.clone(), path.to_owned());
        let synced = tokio::task::spawn_blocking(move || disk::sync(&root, &relative)).await;
        synced
            .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
            .map_err(|source| VaultError::Sync { path: path.to_owned(), source })
    }

    fn writing(&self) -> Result<&Writing, VaultError> {
        let location = || self.root.display().to_string();
        self.writing.as_ref().ok_or_else(|| VaultError::ReadOnly { location: location() })
    }
}

impl Writing {
    fn end(&self, log: &LogId) -> Option<i64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(log).copied()
    }

    /// Ends only grow: a slow caller must not set back what a quick one found.
    fn set_end(&self, log: &LogId, end: i64) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ends.entry(log.clone()).or_insert(end);
        *known = end.max(*known);
    }
}
