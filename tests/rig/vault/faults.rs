//! What befalls archivers: deaths at every point, deaths at random, disks that are full, read-only or broken. Each a
//! scenario that says what differs; the tests play them once, the campaigns `archive` and `disk` often.
//!
//! A full disk without a mount: the size that a file of a process may have is bounded, for the running process too,
//! and a write beyond it fails in the midst of the file. Nobody needs rights for it.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use hms_ops::torture::Point;

use super::{Archive, Checked, Writer, Writing, leftovers};
use crate::oracle::dice::Dice;
use crate::rig::cluster::PATIENCE;
use crate::rig::fleet::Ops;

/// Where an archiver can die: in its own steps, and in those of the transaction by which it commits offsets.
pub const POINTS: &[Point] = &[
    Point::ArchiverOpened,
    Point::ArchiverTook,
    Point::SegmentClosed,
    Point::SegmentWritten,
    Point::AfterSendOffsets,
    Point::CommitSent,
    Point::AfterCommit,
];

/// Waits until it has died of what it was to die of.
fn wait_for_death(ops: &mut Ops) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while ops.is_alive() {
        if Instant::now() >= deadline {
            return Err(format!("it lives\n{}", ops.said()));
        }
        // A child's end can be waited for, but not with a bound.
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Dies at `point`, for the time that the dice say, while records come; another goes on.
pub fn crash(archive: &Archive, point: Point, dice: &mut Dice) -> Result<(), String> {
    // Partitions are opened, and offsets first committed, a few times a life; records and segments are many.
    let often =
        if matches!(point, Point::ArchiverTook | Point::SegmentClosed | Point::SegmentWritten) { 12 } else { 3 };
    let times = 1 + dice.below(often);
    let mut archiver = archive.start_to_crash("one", point, u32::try_from(times).unwrap());
    wait_for_death(&mut archiver).map_err(|error| format!("{}:{times}: {error}", point.name()))?;
    archive.check_acknowledged().map_err(|error| format!("after {}:{times}: {error}", point.name()))
}

/// One archiver goes on to the end of everything: the vault is the topics, and the group's offsets are at their ends.
pub fn survive(archive: &Archive) -> Result<Checked, String> {
    let survivor = archive.start("one");
    archive.wait_until_archived().map_err(|error| format!("{error}\n{}", survivor.said()))?;
    archive.wait_until_acknowledged()?;
    let checked = archive.check()?;
    survivor.stop();
    if !leftovers(&archive.dir).is_empty() {
        return Err(format!("left behind: {:?}", leftovers(&archive.dir)));
    }
    Ok(checked)
}

/// Archivers come and go while records come: two of a group, now under one name and now under two, and one of another
/// group that wants every partition too. `kills` of them are killed.
pub fn kill_at_random(archive: &Archive, kills: u32, dice: &mut Dice) -> Result<Checked, String> {
    let writing = Writing::start(archive, dice.below(1 << 32));
    let rival = format!("{}rival", archive.fleet.prefix);
    let mut running: Vec<Ops> = Vec::new();
    for _ in 0..kills {
        while running.len() < 3 {
            let (group, instance) = dice.pick(&[(0, "one"), (0, "one"), (0, "two"), (1, "one")]);
            let group = [&archive.group, &rival][group];
            running.push(archive.spawn(archive.command(group, instance, 50), instance));
            // Lives overlap by chance, not all at once.
            std::thread::sleep(Duration::from_millis(dice.below(700)));
        }
        running.swap_remove(dice.below(running.len() as u64) as usize).kill();
        archive.check_acknowledged()?;
        // Of two with one name the first ends by itself.
        running.retain_mut(Ops::is_alive);
    }
    drop(running);
    writing.stop();
    survive(archive)
}

/// Lets a file of the child grow to `bytes` only. `deadly`: a write beyond kills it in the midst of the file;
/// otherwise the write fails.
pub fn bounded(mut command: Command, bytes: u64, deadly: bool) -> Command {
    let limit = move || {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
        let disposition = if deadly { libc::SIG_DFL } else { libc::SIG_IGN };
        // SAFETY: two plain system calls of the child between fork and exec.
        let done = unsafe {
            libc::signal(libc::SIGXFSZ, disposition);
            libc::setrlimit(libc::RLIMIT_FSIZE, &limit)
        };
        if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: see above; nothing is allocated.
    unsafe { command.pre_exec(limit) };
    command
}

/// Changes the bound of a running child.
fn bound(ops: &Ops, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a plain system call about our own child, which was not waited for.
    let done = unsafe { libc::prlimit(ops.pid(), libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Waits until it says `text`.
pub fn wait_for_words(ops: &mut Ops, text: &str) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !ops.said().contains(text) {
        if Instant::now() >= deadline || !ops.is_alive() {
            return Err(format!("it does not say {text:?}\n{}", ops.said()));
        }
        // Nothing tells that a file has grown.
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What it says while a segment cannot be stored.
pub const REFUSED: &str = "the vault does not take a segment";

/// No room for the larger segments: they fail at `bytes`, nothing of them is acknowledged; then there is room. What the
/// archiver says lies on the same disk, and soon has no room either.
pub fn disk_fills_up(archive: &Archive, bytes: u64) -> Result<Checked, String> {
    let mut writer = Writer::new(archive, bytes);
    writer.write_all(40);
    let mut archiver = archive.spawn(bounded(archive.command(&archive.group, "one", 100), bytes, false), "one");
    archive.wait_until_archived().map_err(|error| format!("{error}\n{}", archiver.said()))?;
    for _ in 0..4 {
        writer.write_all(30_000);
        writer.abort_all();
    }
    wait_for_words(&mut archiver, REFUSED)?;
    archive.check_acknowledged_for(Duration::from_secs(2))?;
    let deadline = Instant::now() + PATIENCE;
    while (archiver.said().len() as u64) < bytes {
        if Instant::now() >= deadline || !archiver.is_alive() {
            return Err(format!("its log has room left\n{}", archiver.said()));
        }
        // Nothing tells that a file has grown.
        std::thread::sleep(Duration::from_millis(50));
    }
    if !archiver.is_alive() {
        return Err(format!("a full disk ended it\n{}", archiver.said()));
    }
    bound(&archiver, libc::RLIM_INFINITY);
    archive.wait_until_archived().map_err(|error| format!("{error}\n{}", archiver.said()))?;
    archive.wait_until_acknowledged()?;
    archiver.stop();
    archive.check()
}

/// Dies in the midst of a segment's file, `bytes` of it are written; the next one goes on.
pub fn dies_while_it_writes(archive: &Archive, bytes: u64) -> Result<Checked, String> {
    let mut writer = Writer::new(archive, bytes);
    writer.write_all(40);
    let mut archiver = archive.spawn(bounded(archive.command(&archive.group, "one", 100), bytes, true), "one");
    archive.wait_until_archived().map_err(|error| format!("{error}\n{}", archiver.said()))?;
    writer.write_all(60_000);
    wait_for_death(&mut archiver)?;
    if leftovers(&archive.dir).is_empty() {
        return Err("it did not die in the midst of a file".to_owned());
    }
    archive.check_acknowledged()?;
    survive(archive)
}
