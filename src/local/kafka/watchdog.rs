//! Makes the broker end with its parent, also after kill -9 of the parent.
//!
//! A small `sh` starts the broker and then reads a pipe whose other end this process alone holds (it is
//! close-on-exec, so no other child inherits it). However this process ends, the kernel closes that end, the
//! read returns, and the shell kills the broker and removes the scratch directory.
//! `PR_SET_PDEATHSIG` would not do: it follows the parent's *thread*, races with its death, and removes no files.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// What the watchdog is to run, and how to end it.
#[derive(Debug)]
pub(super) struct Launch {
    /// The broker's command line.
    pub command: Vec<OsString>,
    /// Shell words that end it; `$pid` is its process. Nothing in its log is worth an orderly end.
    pub stop: String,
    /// Shell words to run after its end.
    pub after: String,
}

/// `$1` is the scratch directory, `$2` how to stop, `$3` what to do after, the rest the broker's command.
/// The inner shell outlives the broker and leaves its exit status in a file, so that a broker that dies at its
/// start is noticed at once; the number of the process is written before anything can want it. While the file `again`
/// is there, a broker that ends is started once more instead. The end is asked for until it has come: the broker that
/// was asked first may have been followed by another.
const SCRIPT: &str = r#"
dir=$1 stop=$2 after=$3
shift 3
cd /
(
    while :; do
        "$@" </dev/null >>"$dir/broker.log" 2>&1 &
        echo $! >"$dir/pid.new" && mv "$dir/pid.new" "$dir/pid"
        wait $!
        status=$?
        rm "$dir/again" 2>/dev/null || break
    done
    echo $status >"$dir/exit"
) &
cat >/dev/null
rm -f "$dir/again"
until [ -e "$dir/pid" ]; do sleep 0.05; done
until [ -e "$dir/exit" ]; do
    pid=$(cat "$dir/pid")
    eval "$stop" >/dev/null 2>&1
    sleep 0.05
done
wait
eval "$after" >/dev/null 2>&1
rm -rf "$dir"
"#;

/// The shell that watches. Its end is the end of the broker.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
    /// The only write end of the pipe; nothing is ever written to it.
    leash: Option<ChildStdin>,
}

impl Watchdog {
    pub(super) fn spawn(scratch: &Path, launch: &Launch) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "hms-ops-kafka"])
            .arg(scratch)
            .args([&launch.stop, &launch.after])
            .args(&launch.command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: Ctrl-C at the terminal is for the parent, whose end then ends the broker.
            .process_group(0)
            .spawn()?;
        let leash = shell.stdin.take();
        Ok(Self { shell, leash })
    }

    /// Kills the broker without warning; returns when the same command runs again.
    pub(super) fn kill_and_restart(&self, scratch: &Path) -> io::Result<()> {
        let before = pid(scratch)?;
        fs::write(scratch.join("again"), "")?;
        // SAFETY: a signal to a process that the shell waits for, so that the number is still its own.
        if unsafe { libc::kill(before.cast_signed(), libc::SIGKILL) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // The shell writes the number when the old process is gone; no event tells of it.
        while pid(scratch)? == before {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends the broker and waits until it and its files are gone.
    pub(super) fn stop(&mut self) {
        drop(self.leash.take());
        // Only fails if the shell was already waited for, and then it is gone.
        let _ = self.shell.wait();
    }
}

/// The broker's process.
pub(super) fn pid(scratch: &Path) -> io::Result<u32> {
    let text = fs::read_to_string(scratch.join("pid"))?;
    text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Where the broker's output goes.
pub(super) fn log_file(scratch: &Path) -> PathBuf {
    scratch.join("broker.log")
}

/// The broker's exit status, once it has ended by itself.
pub(super) fn exit_status(scratch: &Path) -> Option<String> {
    fs::read_to_string(scratch.join("exit")).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::*;

    fn launch(script: &str) -> Launch {
        Launch {
            command: ["sh", "-c", script].map(OsString::from).to_vec(),
            stop: "kill -9 $pid".to_owned(),
            after: String::new(),
        }
    }

    #[test]
    fn stopping_ends_the_program_and_removes_the_scratch_directory() {
        let root = tempfile::tempdir().unwrap();
        let scratch = root.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let fifo = root.path().join("alive");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let program = format!("exec >{0}; echo hello; exec sleep 1000", fifo.display());
        let mut watchdog = Watchdog::spawn(&scratch, &launch(&program)).unwrap();
        let mut output = io::BufReader::new(fs::File::open(fifo).unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
        watchdog.stop();
        assert!(!scratch.exists());
        // The end of the file comes only when the program, the fifo's one writer, is gone.
        assert_eq!(output.read_line(&mut line).unwrap(), 0);
    }

    #[test]
    fn a_program_that_ends_by_itself_leaves_its_status() {
        let root = tempfile::tempdir().unwrap();
        let scratch = root.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let fifo = root.path().join("ended");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut program = launch("exit 7");
        // Holds the directory until it was looked at.
        program.after = format!("echo >{0}; read line <{0}", fifo.display());
        let mut watchdog = Watchdog::spawn(&scratch, &program).unwrap();
        let leash = watchdog.leash.take();
        drop(leash);
        fs::read_to_string(&fifo).unwrap();
        assert_eq!(exit_status(&scratch).as_deref(), Some("7"));
        fs::write(&fifo, "go on\n").unwrap();
        watchdog.stop();
        assert!(!scratch.exists());
    }
}
