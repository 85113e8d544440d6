//! The campaign `disk` (F9): a disk under the vault that is full or read-only, as a bound on the files of the process
//! and, where we may mount, as a small file system of its own.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::campaign::{Campaign, Trial};
use crate::rig::vault::faults::{REFUSED, dies_while_it_writes, disk_fills_up, survive, wait_for_words};
use crate::rig::vault::{Archive, Writer};

/// See the module.
pub const CAMPAIGN: Campaign = Campaign {
    name: "disk",
    shows: "nothing is acknowledged that is not durable, and the archive goes on when there is room",
    rounds: 10,
    run,
};

fn run(trial: &mut Trial) -> Result<(), String> {
    for round in 0..trial.rounds {
        let at = |what: &'static str| move |error| format!("round {round}, {what}: {error}");
        // Less than one of the large records takes on the disk.
        let bytes = 12_000 + trial.dice.below(8_000);
        let mut records = disk_fills_up(&Archive::new("full"), bytes).map_err(at("a bounded file"))?.records;
        records += dies_while_it_writes(&Archive::new("half"), bytes).map_err(at("half a file"))?.records;
        if may_mount(trial) {
            records += full(&Archive::new("tmpfs")).map_err(at("a full file system"))?;
            records += read_only(&Archive::new("readonly")).map_err(at("a read-only file system"))?;
        }
        trial.figures.count("records compared", records);
        trial.round_is_over(&format!("{records} records"));
    }
    Ok(())
}

/// Tried once; a run without says so.
fn may_mount(trial: &mut Trial) -> bool {
    let archive = Archive::new("mount");
    match Mounted::new(&archive.dir, "size=64k") {
        Ok(_) => true,
        Err(error) => {
            let note = format!("no file systems of its own, only bounded files: {error}");
            if !trial.figures.notes.contains(&note) {
                trial.figures.notes.push(note);
            }
            false
        }
    }
}

/// A file system that is too small for what comes, and grows.
fn full(archive: &Archive) -> Result<u64, String> {
    let disk = Mounted::new(&archive.dir, "size=256k").map_err(|error| error.to_string())?;
    let mut writer = Writer::new(archive, 5);
    writer.write_all(40);
    let mut archiver = archive.start("one");
    archive.wait_until_archived()?;
    for _ in 0..4 {
        writer.write_all(30_000);
        writer.abort_all();
    }
    wait_for_words(&mut archiver, REFUSED)?;
    archive.check_acknowledged_for(std::time::Duration::from_secs(2))?;
    disk.remount(0, "size=64m").map_err(|error| error.to_string())?;
    archive.wait_until_archived().map_err(|error| format!("{error}\n{}", archiver.said()))?;
    archive.wait_until_acknowledged()?;
    archiver.stop();
    Ok(archive.check()?.records)
}

/// A file system that is read-only when the archiver comes: it refuses to begin, and begins when it may write. (The
/// kernel makes none read-only on which somebody writes.)
fn read_only(archive: &Archive) -> Result<u64, String> {
    let disk = Mounted::new(&archive.dir, "size=64m").map_err(|error| error.to_string())?;
    let mut writer = Writer::new(archive, 6);
    writer.write_all(40);
    survive(archive)?;
    disk.remount(libc::MS_RDONLY, "").map_err(|error| error.to_string())?;
    writer.write_all(40);
    let archiver = archive.start("one");
    let status = archiver.wait();
    if status.code() != Some(2) {
        return Err(format!("it ended with {status} on a read-only file system"));
    }
    archive.check_acknowledged()?;
    disk.remount(0, "").map_err(|error| error.to_string())?;
    Ok(survive(archive)?.records)
}

/// A small file system in memory. Unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(dir: &Path, options: &str) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        mount(dir, 0, options)?;
        Ok(Self(dir.to_owned()))
    }

    fn remount(&self, flags: libc::c_ulong, options: &str) -> io::Result<()> {
        mount(&self.0, libc::MS_REMOUNT | flags, options)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Ok(dir) = CString::new(self.0.as_os_str().as_bytes()) {
            // Lazily: a process that a failed round left behind must not keep it.
            // SAFETY: a plain system call.
            unsafe { libc::umount2(dir.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

fn mount(dir: &Path, flags: libc::c_ulong, options: &str) -> io::Result<()> {
    let (dir, options) = (CString::new(dir.as_os_str().as_bytes())?, CString::new(options)?);
    let kind = c"tmpfs".as_ptr();
    // SAFETY: a plain system call; all texts outlive it.
    let done = unsafe { libc::mount(kind, dir.as_ptr(), kind, flags, options.as_ptr().cast()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
