//! What the crate `object_store` does not do for a local directory: make the vault's own directory, tell
//! leftovers of a crash from files that are being written, and sync what somebody else stored.
//!
//! It does the rest: with `with_fsync`, a create-if-absent put writes `NAME#N`, syncs it, hard-links it to
//! `NAME` (which fails if that is there), syncs the directory, and hides `NAME#N` from every listing.
//! Only [`super::Vault`] calls this.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::VaultError;

/// Held shared by everybody who may have temporary files, exclusively by who removes leftovers. The system
/// lets go of it when the process ends, however it ends.
const LOCK: &str = ".lock";

/// The directory that a location means.
pub(super) fn directory(location: &str) -> Result<PathBuf, VaultError> {
    match location.split_once("://") {
        None if !location.is_empty() => Ok(PathBuf::from(location)),
        Some(("file", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(VaultError::Unsupported { location: location.to_owned() }),
    }
}

/// `object_store` would say so too, in words for its own developers.
pub(super) fn must_be_there(dir: &Path) -> io::Result<()> {
    match fs::metadata(dir)?.is_dir() {
        true => Ok(()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// Makes a directory and those above it, and syncs the entries of all that were missing.
pub(super) fn create_durably(dir: &Path) -> io::Result<()> {
    let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    fs::create_dir_all(dir)?;
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_one(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Takes the lock of writers; if nobody else has it, first removes the temporary files of those who died.
///
/// Without the lock this would be worse than leaving them: the names of temporary files repeat (`NAME#1`), so
/// removing one that is in use lets the next writer take its name, and the first link the second's half file.
pub(super) fn lock_and_clean(root: &Path) -> io::Result<File> {
    let lock = File::options().read(true).write(true).create(true).truncate(false).open(root.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => remove_temporary(root)?,
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    lock.lock_shared()?;
    Ok(lock)
}

fn remove_temporary(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_temporary(&entry.path())?;
        } else if entry.file_name().to_str().is_some_and(is_temporary) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The names under which `object_store` stages a put.
fn is_temporary(name: &str) -> bool {
    name.split_once('#').is_some_and(|(_, id)| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
}

/// Syncs a file of the vault and the directories from its own up to the vault's.
pub(super) fn sync(root: &Path, relative: &str) -> io::Result<()> {
    let file = root.join(relative);
    file.ancestors().take_while(|path| path.starts_with(root)).try_for_each(sync_one)
}

fn sync_one(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_directory_or_a_file_url() {
        assert_eq!(directory("./vault").unwrap(), Path::new("./vault"));
        assert_eq!(directory("file:///var/vault").unwrap(), Path::new("/var/vault"));
        for bad in ["", "s3://bucket/vault", "file://host/vault"] {
            assert!(matches!(directory(bad), Err(VaultError::Unsupported { .. })), "{bad}");
        }
    }

    #[test]
    fn leftovers_go_only_when_nobody_writes() {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("ops.actions/0");
        fs::create_dir_all(&log).unwrap();
        let (left, kept) = (log.join("00000000000000000000#1"), log.join("00000000000000000000"));
        fs::write(&left, "half").unwrap();
        fs::write(&kept, "whole").unwrap();

        let first = lock_and_clean(root.path()).unwrap();
        assert!(!left.exists() && kept.exists());

        fs::write(&left, "being written").unwrap();
        let second = lock_and_clean(root.path()).unwrap();
        assert!(left.exists(), "removed under the first writer's hands");

        drop((first, second));
        lock_and_clean(root.path()).unwrap();
        assert!(!left.exists());
    }
}
