//! Stands between a client and an API server, encrypted or not: holds requests back, cuts them, or loses answers.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::SOON;

/// What becomes of what comes from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It passes, and so does what was held back.
    Pass,
    /// Requests are held back, also when who sent them is gone.
    Hold,
    /// Of each connection's requests only so many bytes pass, the rest is lost.
    CutRequests(usize),
    /// Answers are lost.
    LoseAnswers,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The server was not there.
    pub missed: u32,
    /// A part of a request was held back.
    pub held: u32,
    /// It was let go, and something was answered after that.
    pub answered: u32,
    /// A request was cut.
    pub cut: u32,
}

/// See the module. It ends when this is dropped, its connections with them who hold them.
pub struct Proxy {
    port: u16,
    line: Line,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Line {
    mode: Arc<watch::Sender<Mode>>,
    counts: Arc<watch::Sender<Counts>>,
}

impl Proxy {
    /// Before a port of loopback, whether or not somebody listens there.
    pub async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Line {
            mode: Arc::new(watch::channel(Mode::Pass).0),
            counts: Arc::new(watch::channel(Counts::default()).0),
        };
        let serving = tokio::spawn(serve(listener, upstream, line.clone()));
        Self { port, line, serving }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.line.mode.send_replace(mode);
    }

    /// Waits for something to happen.
    pub async fn wait_for(&self, happened: impl Fn(&Counts) -> bool) {
        let mut counts = self.line.counts.subscribe();
        let found = timeout(SOON, counts.wait_for(happened)).await.is_ok_and(|found| found.is_ok());
        assert!(found, "it does not happen: {:?}", *self.line.counts.borrow());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, upstream: u16, line: Line) {
    while let Ok((down, _)) = listener.accept().await {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await {
            Ok(up) => drop(tokio::spawn(pass(down, up, line.clone()))),
            // The connection is closed without a word.
            Err(_) => line.counts.send_modify(|counts| counts.missed += 1),
        }
    }
}

/// Both ways until the server ends it, or there is nothing more to be asked.
async fn pass(down: TcpStream, up: TcpStream, line: Line) {
    let ((from_down, to_down), (from_up, to_up)) = (down.into_split(), up.into_split());
    let (asking, released) = (line.clone(), watch::channel(false).0);
    tokio::select! {
        () = requests(from_down, to_up, asking, &released) => {}
        () = answers(from_up, to_down, line, &released) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: Line, released: &watch::Sender<bool>) {
    let (mut buffer, mut passed) = (vec![0; 16 * 1024], 0);
    let mut mode = line.mode.subscribe();
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if *mode.borrow() == Mode::Hold {
            line.counts.send_modify(|counts| counts.held += 1);
            if mode.wait_for(|mode| *mode != Mode::Hold).await.is_err() {
                return;
            }
            released.send_replace(true);
        }
        let kept = match *mode.borrow() {
            Mode::CutRequests(limit) => {
                let kept = length.min(limit - limit.min(passed));
                passed += kept;
                kept
            }
            _ => length,
        };
        if to.write_all(&buffer[..kept]).await.is_err() {
            return;
        }
        if kept < length {
            line.counts.send_modify(|counts| counts.cut += 1);
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: Line, released: &watch::Sender<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if *released.borrow() {
            line.counts.send_modify(|counts| counts.answered += 1);
        }
        let lost = *line.mode.borrow() == Mode::LoseAnswers;
        if !lost && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
