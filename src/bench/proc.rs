//! What `/proc` says of processes and threads.

use std::fs;
use std::path::Path;

/// Of a process or a thread.
pub struct Stat {
    /// Dead, and nobody has asked how yet.
    pub ended: bool,
    /// The process group.
    pub group: u32,
    /// User and system time, s.
    pub cpu_s: f64,
}

/// Of a process, all its threads together.
pub fn stat(pid: u32) -> Option<Stat> {
    read(Path::new(&format!("/proc/{pid}")))
}

/// Processor time of the threads of a process whose names begin so, s. The names are what fits into 15 bytes.
pub fn threads_cpu_s(pid: u32, names: &[&str]) -> f64 {
    let task = format!("/proc/{pid}/task");
    let threads = numbers(&task).filter_map(|thread| {
        let thread = Path::new(&task).join(thread.to_string());
        let name = fs::read_to_string(thread.join("comm")).ok()?;
        names.iter().any(|wanted| name.starts_with(wanted)).then(|| read(&thread)).flatten()
    });
    threads.map(|stat| stat.cpu_s).sum()
}

/// The entries of a directory that are numbers: processes, threads.
pub fn numbers(directory: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The high-water mark of the resident memory.
pub fn peak_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Of `stat`: what follows the name, which may hold anything, in brackets.
fn read(of: &Path) -> Option<Stat> {
    let text = fs::read_to_string(of.join("stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // SAFETY: no memory is touched.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    Some(Stat {
        ended: matches!(*fields.first()?, "Z" | "X"),
        group: u32::try_from(number(2)?).ok()?,
        cpu_s: (number(11)? + number(12)?) as f64 / ticks_per_second,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_seen_by_its_name() {
        let pid = std::process::id();
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let work = move || {
            // A tick of the clock that /proc counts in, and one more.
            while read(Path::new("/proc/thread-self")).is_none_or(|stat| stat.cpu_s < 0.02) {}
            tell.send(()).unwrap();
            // Until the other end is dropped.
            let _ = ended.recv();
        };
        let thread = std::thread::Builder::new().name("busy one".to_owned()).spawn(work).unwrap();
        told.recv().unwrap();
        let seen = threads_cpu_s(pid, &["idle", "busy"]);
        assert!(0.02 <= seen && seen <= stat(pid).unwrap().cpu_s, "{seen}");
        assert_eq!(threads_cpu_s(pid, &["nobody"]), 0.0);
        drop(end);
        thread.join().unwrap();
    }
}
