//! A server of pages of metrics, good and hostile, on loopback; it keeps who was asked for and when. By hand on plain
//! sockets: most of what it serves no server would.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::rig::cluster::PATIENCE;

/// Writes an answer. An error is a client that has had enough.
pub type Page = Arc<dyn Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync>;

/// See the module. Serves until the process ends.
#[derive(Clone)]
pub struct Pages {
    state: Arc<State>,
    /// Where it listens, on loopback.
    pub port: u16,
}

#[derive(Default)]
struct State {
    pages: Mutex<BTreeMap<String, Page>>,
    hits: Mutex<Vec<(String, Instant)>>,
    hit: Condvar,
}

impl Pages {
    /// Serves nothing yet: 404.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<State>::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { state, port }
    }

    /// The address of a page.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// From now on this is what is at a path.
    pub fn set(&self, path: &str, page: Page) {
        self.state.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// From now on a path has a page of metrics.
    pub fn set_text(&self, path: &str, text: &str) {
        self.set(path, text_page("text/plain; version=0.0.4", text));
    }

    /// Every question so far: for what, and when.
    pub fn hits(&self) -> Vec<(String, Instant)> {
        self.state.hits.lock().unwrap().clone()
    }

    /// When a path was asked for.
    pub fn hits_of(&self, path: &str) -> Vec<Instant> {
        self.hits().into_iter().filter(|(hit, _)| hit == path).map(|(_, at)| at).collect()
    }

    /// Waits until a path was asked for so many times more.
    pub fn wait_for(&self, path: &str, more: usize) {
        self.wait_for_each(&[path], more);
    }

    /// Waits until each of these was asked for so many times more.
    pub fn wait_for_each(&self, paths: &[impl AsRef<str>], more: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut hits = self.state.hits.lock().unwrap();
        let before = hits.len();
        let count =
            |hits: &[(String, Instant)], path: &str| hits[before..].iter().filter(|(hit, _)| hit == path).count();
        while let Some(path) = paths.iter().map(AsRef::as_ref).find(|path| count(&hits, path) < more) {
            assert!(Instant::now() < deadline, "{path} is not asked for: {} of {more}", count(&hits, path));
            hits = self.state.hit.wait_timeout(hits, Duration::from_millis(500)).unwrap().0;
        }
    }
}

fn serve(state: &State, mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    // A client that goes away in its question has asked for nothing.
    if !lines.by_ref().any(|line| line.is_ok_and(|line| line.is_empty())) {
        return;
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let page = state.pages.lock().unwrap().get(&path).cloned();
    state.hits.lock().unwrap().push((path, Instant::now()));
    state.hit.notify_all();
    let page = page.unwrap_or_else(|| status_page(404, ""));
    // A client that has had enough.
    let _ = page(&mut stream);
}

/// 200 with a text.
pub fn text_page(kind: &str, text: &str) -> Page {
    bytes_page(&format!("Content-Type: {kind}\r\n"), text.as_bytes().to_vec())
}

/// 200 with further headers and any body.
pub fn bytes_page(headers: &str, body: Vec<u8>) -> Page {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Arc::new(move |stream| {
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)
    })
}

/// Another status.
pub fn status_page(status: u16, headers: &str) -> Page {
    let head = format!("HTTP/1.1 {status} x\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
    Arc::new(move |stream| stream.write_all(head.as_bytes()))
}

/// These bytes, and then `again` for ever, with a pause before each.
pub fn endless_page(first: &'static str, again: Vec<u8>, pause: Duration) -> Page {
    Arc::new(move |stream| {
        stream.write_all(first.as_bytes())?;
        loop {
            // This is the slowness of the server, not the patience of the test.
            std::thread::sleep(pause);
            stream.write_all(&again)?;
        }
    })
}
