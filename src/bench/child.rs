//! A process that is measured from outside: its processor time and memory by `/proc`, its last lines for when it fails.
//!
//! It and whatever it starts are one process group, which ends with it: by SIGTERM, or killed if that does not help.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child as Process, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::proc::{self, Stat, peak_bytes, stat};

/// How long a process may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(20);
/// Between two looks at a process that ends.
const LOOK: Duration = Duration::from_millis(20);
/// Between two searches for processes that it has started.
const SEARCH: Duration = Duration::from_secs(1);
/// Lines that are kept.
const LINES: usize = 20;

/// What a process group has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time, s.
    pub cpu_s: f64,
    /// Most memory that was resident, of each process at its own time, bytes.
    pub peak_bytes: u64,
}

/// See the module. Ended when dropped.
pub struct Child {
    name: String,
    process: Process,
    lines: Arc<Mutex<VecDeque<String>>>,
    /// By process: what it had used when it was last seen. One that is gone keeps it.
    seen: BTreeMap<u32, Usage>,
    searched: Option<Instant>,
    ended: bool,
}

impl Child {
    /// Starts `command`, which appears as `name` in messages.
    ///
    /// # Errors
    /// There is no such program.
    pub fn spawn(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        // SAFETY: between fork and exec only one system call is made. If we are killed, so is the child.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        let mut process = command.spawn().map_err(Error::io(format!("starting {name}")))?;
        let lines = Arc::<Mutex<VecDeque<String>>>::default();
        if let Some(stderr) = process.stderr.take() {
            let (name, lines) = (name.to_owned(), lines.clone());
            thread::spawn(move || listen(&name, stderr, &lines));
        }
        Ok(Self { name: name.to_owned(), process, lines, seen: BTreeMap::new(), searched: None, ended: false })
    }

    /// In messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says on stdout; once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.process.stdout.take()
    }

    /// What it has used so far.
    pub fn usage(&mut self) -> Usage {
        let leader = self.process.id();
        if self.searched.is_none_or(|at| at.elapsed() >= SEARCH) {
            for (pid, _) in members(leader) {
                self.seen.entry(pid).or_default();
            }
            self.searched = Some(Instant::now());
        }
        for (&pid, usage) in &mut self.seen {
            if let Some(stat) = stat(pid).filter(|stat| stat.group == leader) {
                usage.cpu_s = stat.cpu_s;
                usage.peak_bytes = usage.peak_bytes.max(peak_bytes(pid).unwrap_or(0));
            }
        }
        let sum = |sum: Usage, usage: &Usage| Usage {
            cpu_s: sum.cpu_s + usage.cpu_s,
            peak_bytes: sum.peak_bytes + usage.peak_bytes,
        };
        self.seen.values().fold(Usage::default(), sum)
    }

    /// # Errors
    /// [`Error::Ended`] if it has.
    pub fn check(&mut self) -> Result<()> {
        let failed = Error::io(format!("asking for {}", self.name));
        match self.process.try_wait().map_err(failed)? {
            None => Ok(()),
            Some(status) => Err(self.ended_with(status)),
        }
    }

    fn ended_with(&self, status: ExitStatus) -> Error {
        Error::Ended { name: self.name.clone(), status: status.to_string(), lines: self.last_lines() }
    }

    /// The end of its stderr.
    pub fn last_lines(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    /// Kills it without warning, and waits until all of it is gone.
    pub fn kill(mut self) {
        self.ended = true;
        self.kill_group();
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.signal(libc::SIGTERM);
        let deadline = Instant::now() + GRACE;
        // The standard library cannot wait for a process with a limit.
        while self.process.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        self.kill_group();
    }

    /// A signal is sent, not obeyed, when the call returns; and whose parent is gone nobody here can wait for.
    fn kill_group(&mut self) {
        self.signal(libc::SIGKILL);
        // Gone already is as good.
        let _ = self.process.wait();
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && members(self.process.id()).any(|(_, stat)| !stat.ended) {
            thread::sleep(LOOK);
        }
    }

    fn signal(&self, signal: i32) {
        let Ok(group) = i32::try_from(self.process.id()) else { return };
        // SAFETY: no memory is touched. The group is ours alone, and lives until its leader is waited for.
        unsafe { libc::kill(-group, signal) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// Keeps the last lines; all of them go to the log.
fn listen(name: &str, stderr: impl Read, lines: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(stderr).lines().map_while(io::Result::ok) {
        tracing::debug!("{name}: {line}");
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// The processes of a group.
fn members(group: u32) -> impl Iterator<Item = (u32, Stat)> {
    proc::numbers("/proc").filter_map(|pid| Some((pid, stat(pid)?))).filter(move |(_, stat)| stat.group == group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        Child::spawn("a shell", command).unwrap()
    }

    #[test]
    fn what_a_grandchild_uses_is_counted_and_it_ends_with_the_child() {
        let mut child = shell("sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done; sleep 60' & wait");
        let mut line = String::new();
        BufReader::new(child.stdout().unwrap()).read_line(&mut line).unwrap();
        let usage = child.usage();
        assert!(usage.cpu_s > 0.0 && usage.peak_bytes > 100_000, "{usage:?}");
        let members: Vec<u32> = child.seen.keys().copied().collect();
        assert!(members.len() >= 2, "{members:?}");
        child.check().unwrap();
        child.stop();
        assert!(!members.iter().any(|pid| stat(*pid).is_some_and(|stat| !stat.ended)), "{members:?}");
    }

    #[test]
    fn whoever_does_not_listen_is_gone_when_the_end_returns() {
        // Many, so that some would still be dying.
        let mut child = shell("for i in $(seq 40); do sh -c 'trap \"\" TERM; sleep 60 & wait' & done; echo done; wait");
        let group = child.process.id();
        let mut line = String::new();
        BufReader::new(child.stdout().unwrap()).read_line(&mut line).unwrap();
        assert!(members(group).count() > 40);
        child.stop();
        let left: Vec<u32> = members(group).filter(|(_, stat)| !stat.ended).map(|(pid, _)| pid).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn one_that_ends_by_itself_is_an_error_with_its_last_words() {
        let mut child = shell("echo no luck >&2; exit 3");
        let _ = child.process.wait();
        let error = child.check().unwrap_err().to_string();
        assert!(error.contains("a shell") && error.contains('3'), "{error}");
    }
}
