//! Archivers without one of their guards, in scenarios of which the check must say that something is wrong. With
//! the guard it must not: each scenario is also played with `None`.

use std::time::Duration;

use hms_ops::torture::Sabotage;

use super::faults::{REFUSED, bounded, wait_for_words};
use super::{Archive, Writer};
use crate::rig::sabotage::Scenario;

/// All of them.
pub const CONTROLS: &[(Sabotage, Scenario)] = &[
    (Sabotage::ReadUncommittedInput, aborted_records),
    (Sabotage::NoCreateIfAbsent, two_writers),
    (Sabotage::ArchiveFromGroupOffset, older_copy),
    (Sabotage::AcknowledgeBeforeDurable, full_disk),
];

/// Long enough for an archiver of which everything is asked that is in the topics.
const SOON: Duration = Duration::from_secs(15);

/// Committed, aborted, committed.
fn aborted_records(guard: Option<Sabotage>) -> Result<(), String> {
    let archive = Archive::new("aborted");
    let mut writer = Writer::new(&archive, 1);
    writer.write_all(40);
    writer.abort_all();
    writer.write_all(40);
    let archiver = archive.start_without("one", guard);
    archive.wait_until_archived()?;
    archiver.stop();
    archive.check().map(drop)
}

/// Two groups, so that both archive every partition; one closes its segments ten times as often.
fn two_writers(guard: Option<Sabotage>) -> Result<(), String> {
    let archive = Archive::new("overwritten");
    let mut writer = Writer::new(&archive, 2);
    let start = |group: &str, instance: &str, age_ms| {
        let mut command = archive.command(group, instance, age_ms);
        command.envs(guard.map(|guard| ("OPS_SABOTAGE", guard.name())));
        archive.spawn(command, instance)
    };
    let rival = format!("{}rival", archive.fleet.prefix);
    let quick = start(&archive.group, "quick", 30);
    let slow = start(&rival, "slow", 300);
    // Who begins when all is written reads the same as the other, and closes the same segments.
    writer.write_all(40);
    archive.wait_until_acknowledged()?;
    archive.wait_until_acknowledged_by(&rival)?;
    for _ in 0..60 {
        writer.write_all(40);
        // The pace is the point: both have something open at most times.
        std::thread::sleep(Duration::from_millis(40));
    }
    let archived = archive.wait_until_archived_within(SOON);
    // Without the guard they may have ended by themselves, over what they made of the vault.
    quick.kill();
    slow.kill();
    archived?;
    archive.check().map(drop)
}

/// A vault that was restored from an older copy, behind a group that is at the end.
fn older_copy(guard: Option<Sabotage>) -> Result<(), String> {
    let archive = Archive::new("older");
    let mut writer = Writer::new(&archive, 3);
    let archiver = archive.start("one");
    for _ in 0..3 {
        writer.write_all(40);
        archive.wait_until_archived()?;
    }
    archive.wait_until_acknowledged()?;
    archiver.stop();
    for log in archive.logs() {
        for segment in archive.segments(&log)?.iter().skip(1) {
            std::fs::remove_file(archive.dir.join(segment.path())).map_err(|error| error.to_string())?;
        }
    }
    let archiver = archive.start_without("one", guard);
    archive.wait_until_archived_within(SOON)?;
    archiver.stop();
    archive.check().map(drop)
}

/// No room for what comes.
fn full_disk(guard: Option<Sabotage>) -> Result<(), String> {
    let archive = Archive::new("unacknowledged");
    let mut writer = Writer::new(&archive, 4);
    writer.write_all(40);
    let mut command = bounded(archive.command(&archive.group, "one", 100), 20_000, false);
    command.envs(guard.map(|guard| ("OPS_SABOTAGE", guard.name())));
    let mut archiver = archive.spawn(command, "one");
    archive.wait_until_archived()?;
    archive.wait_until_acknowledged()?;
    writer.write_all(40_000);
    wait_for_words(&mut archiver, REFUSED)?;
    archive.check_acknowledged_for(Duration::from_secs(3))
}
