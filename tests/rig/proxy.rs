//! A proxy of our own between one client process and the broker. A test catches requests on their way and decides what
//! becomes of each: it goes on, late or at once; its answer is kept or lost; the client loses its connection while the
//! request lives on, and arrives when nobody expects it any more.
//!
//! ```text
//!   client ---> [ proxy ]-- pass -------------------------> broker
//!      <--------------------------- deliver --[ Answer ]<------
//!      <-- x lose                                  |
//!      <-- x cut    [ Orphan ]-- deliver, later ---------> broker     (on the connection it would have come by)
//! ```
//!
//! Clients go where the metadata says the broker is, so the broker's port is replaced in the answers that tell it.
//! It does not know what is in a record and does not judge; that is for the tests of held-back commits and for the
//! campaign `held`.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cluster::PATIENCE;

/// What a request asks for, by the number that it has in Kafka's protocol.
pub mod key {
    /// Records.
    pub const PRODUCE: i16 = 0;
    /// Where the brokers are.
    pub const METADATA: i16 = 3;
    /// Where the coordinator is.
    pub const FIND_COORDINATOR: i16 = 10;
    /// A member wants to be in its group.
    pub const JOIN_GROUP: i16 = 11;
    /// A partition becomes part of the transaction.
    pub const ADD_PARTITIONS: i16 = 24;
    /// The group's offsets become part of the transaction.
    pub const ADD_OFFSETS: i16 = 25;
    /// The end of a transaction.
    pub const END_TXN: i16 = 26;
    /// The offsets themselves.
    pub const OFFSETS: i16 = 28;
}

/// No frame of a test is longer; a longer one means that something else than Kafka speaks.
const LONGEST: usize = 64 << 20;

/// A request as it lies on the wire, its length in front.
pub struct Request(Vec<u8>);

impl Request {
    /// What it asks for; see [`key`].
    pub fn key(&self) -> i16 {
        self.0.get(4..6).map_or(-1, |two| i16::from_be_bytes([two[0], two[1]]))
    }

    /// The end of a transaction that is to be committed. The clients at hand speak the versions in which that is the
    /// last byte.
    pub fn commits(&self) -> bool {
        self.key() == key::END_TXN && self.0.last() == Some(&1)
    }

    /// The end of a transaction that is given up.
    pub fn aborts(&self) -> bool {
        self.key() == key::END_TXN && self.0.last() == Some(&0)
    }

    fn correlation(&self) -> [u8; 4] {
        self.0.get(8..12).map_or([0; 4], |four| [four[0], four[1], four[2], four[3]])
    }
}

type Wanted = Box<dyn Fn(&Request) -> bool + Send>;

struct Shared {
    broker: SocketAddr,
    /// How the broker names itself, and how it is named to clients.
    renamed: [Vec<u8>; 2],
    traps: Mutex<Vec<(Wanted, Sender<Caught>)>>,
    passed: AtomicU64,
    closed: AtomicBool,
}

/// See the module. Its connections end with the client's or the broker's.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Stands before the broker at `brokers`, which is one on this machine.
    pub fn new(brokers: &str) -> Self {
        let (host, port) = brokers.rsplit_once(':').unwrap();
        assert!(["127.0.0.1", "localhost"].contains(&host), "the proxy stands before a broker of this machine only");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let port: u16 = port.parse().unwrap();
        let name = |port: u16| [host.as_bytes(), &i32::from(port).to_be_bytes()].concat();
        let shared = Arc::new(Shared {
            broker: SocketAddr::from(([127, 0, 0, 1], port)),
            renamed: [name(port), name(address.port())],
            traps: Mutex::default(),
            passed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.closed.load(Ordering::Acquire) {
                    return;
                }
                // A broker that is down refuses: so does the proxy then, by closing.
                let _ = client.and_then(|client| Link::open(client, &accepting));
            }
        });
        Self { address, shared }
    }

    /// `host:port`, for the client's `bootstrap.servers`.
    pub fn brokers(&self) -> String {
        self.address.to_string()
    }

    /// Requests that have come by.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// Catches the offsets of the next transaction that has records: it is complete then but for them.
    pub fn catch_offsets_behind_records(&self) -> Trap {
        let begun = AtomicBool::new(false);
        self.catch(move |request| match request.key() {
            key::ADD_PARTITIONS => {
                begun.store(true, Ordering::Relaxed);
                false
            }
            key::ADD_OFFSETS => begun.load(Ordering::Relaxed),
            _ => false,
        })
    }

    /// Catches the next request that is `wanted`. Everything behind it on its connection waits with it.
    pub fn catch(&self, wanted: impl Fn(&Request) -> bool + Send + 'static) -> Trap {
        let (sender, caught) = channel();
        self.shared.traps.lock().unwrap().push((Box::new(wanted), sender));
        Trap(caught)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // Wakes the thread that accepts. Traps that nobody waits for let everything pass.
        let _ = TcpStream::connect(self.address);
        self.shared.traps.lock().unwrap().clear();
    }
}

/// Where a request will be caught.
pub struct Trap(Receiver<Caught>);

impl Trap {
    /// Waits for the request.
    pub fn wait(self, what: &str) -> Caught {
        self.0.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no {what} has come by: {error}"))
    }

    /// Waits for it a while.
    pub fn wait_for(&self, timeout: Duration) -> Option<Caught> {
        self.0.recv_timeout(timeout).ok()
    }
}

enum Decision {
    Pass,
    Keep(Sender<Kept>),
    Refuse(i16),
    Cut,
}

/// A request that is held back. Goes on when dropped.
pub struct Caught {
    request: Request,
    link: Arc<Link>,
    decide: Sender<Decision>,
}

impl Caught {
    /// Lets it go on.
    pub fn pass(self) {
        let _ = self.decide.send(Decision::Pass);
    }

    /// Lets it go on, and waits until the broker has answered. The client has not heard of it then.
    pub fn pass_and_keep_answer(self) -> Answer {
        let (sender, kept) = channel();
        let _ = self.decide.send(Decision::Keep(sender));
        Answer(kept.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("the broker does not answer: {error}")))
    }

    /// Answers in the broker's place with an error; the broker never hears of it. For `END_TXN` and `ADD_OFFSETS`,
    /// whose answers look alike.
    pub fn refuse(self, code: i16) {
        let _ = self.decide.send(Decision::Refuse(code));
    }

    /// Answers as [`Self::refuse`] does, while the request is still on its way.
    pub fn refuse_and_keep(self, code: i16) -> Orphan {
        let _ = self.decide.send(Decision::Refuse(code));
        Orphan { request: self.request, link: self.link }
    }

    /// Cuts the client off while the request is still on its way.
    pub fn cut(self) -> Orphan {
        self.link.is_cut.store(true, Ordering::Release);
        let _ = self.link.client.shutdown(Shutdown::Both);
        let _ = self.decide.send(Decision::Cut);
        Orphan { request: self.request, link: self.link }
    }
}

/// An answer of the broker that the client has not got.
pub struct Answer(Kept);

struct Kept {
    bytes: Vec<u8>,
    link: Arc<Link>,
    release: Sender<bool>,
}

impl Answer {
    /// The client gets it.
    pub fn deliver(self) {
        let _ = self.0.release.send(true);
    }

    /// The client is cut off instead.
    pub fn lose(self) {
        let _ = self.0.link.client.shutdown(Shutdown::Both);
        let _ = self.0.release.send(false);
    }
}

/// A request whose client has lost its connection. Never arrives if dropped.
pub struct Orphan {
    request: Request,
    link: Arc<Link>,
}

impl Orphan {
    /// It reaches the broker now. Says with which error that answers; 0 is none. For `END_TXN` and `ADD_OFFSETS`. -1: it
    /// cannot arrive any more, as the connection went with its client.
    pub fn deliver(self) -> i16 {
        let (sender, kept) = channel();
        if self.link.forward(&self.request, Some(sender)).is_err() {
            return -1;
        }
        let kept: Kept = kept.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("the broker is silent: {error}"));
        // Length, correlation id, throttle time, error.
        kept.bytes.get(12..14).map_or(-1, |two| i16::from_be_bytes([two[0], two[1]]))
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        // Nobody else uses the connection to the broker any more, unless the client still has its own.
        if self.link.is_cut.load(Ordering::Acquire) {
            let _ = self.link.broker.shutdown(Shutdown::Both);
        }
    }
}

/// A request that the broker has, and who gets its answer if not the client.
struct Pending {
    key: i16,
    keeper: Option<Sender<Kept>>,
}

/// A client's connection, and ours to the broker in its place.
struct Link {
    client: TcpStream,
    broker: TcpStream,
    pending: Mutex<VecDeque<Pending>>,
    /// An orphan is left behind.
    is_cut: AtomicBool,
}

impl Link {
    fn open(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
        let broker = TcpStream::connect(shared.broker)?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let link = Arc::new(Self { client, broker, pending: Mutex::default(), is_cut: AtomicBool::new(false) });
        let (there, back, shared) = (link.clone(), link, shared.clone());
        let renamed = shared.renamed.clone();
        std::thread::spawn(move || there.requests(&shared));
        std::thread::spawn(move || back.answers(&renamed));
        Ok(())
    }

    /// From the client to the broker, until one of them is gone.
    fn requests(self: Arc<Self>, shared: &Shared) {
        while let Ok(frame) = read_frame(&self.client) {
            shared.passed.fetch_add(1, Ordering::Relaxed);
            let request = Request(frame);
            let trap = {
                let mut traps = shared.traps.lock().unwrap();
                let place = traps.iter().position(|(wanted, _)| wanted(&request));
                place.map(|place| traps.remove(place).1)
            };
            let done = match trap {
                None => self.forward(&request, None),
                Some(trap) => match self.clone().decided(&request, &trap) {
                    Decision::Pass => self.forward(&request, None),
                    Decision::Keep(keeper) => self.forward(&request, Some(keeper)),
                    Decision::Refuse(code) => self.refuse(&request, code),
                    // Who holds the orphan ends the connection to the broker.
                    Decision::Cut => return,
                },
            };
            if done.is_err() {
                break;
            }
        }
        // What the broker has got it still works on, and answers.
        let _ = self.broker.shutdown(Shutdown::Write);
    }

    fn decided(self: Arc<Self>, request: &Request, trap: &Sender<Caught>) -> Decision {
        let (decide, decision) = channel();
        let caught = Caught { request: Request(request.0.clone()), link: self, decide };
        // A test that is over lets everything pass.
        let _ = trap.send(caught);
        decision.recv().unwrap_or(Decision::Pass)
    }

    fn forward(&self, request: &Request, keeper: Option<Sender<Kept>>) -> io::Result<()> {
        // Held over the writing, so that answers are expected in the order of the wire.
        let mut pending = self.pending.lock().unwrap();
        pending.push_back(Pending { key: request.key(), keeper });
        (&self.broker).write_all(&request.0)
    }

    fn refuse(&self, request: &Request, code: i16) -> io::Result<()> {
        let body = [&request.correlation()[..], &[0; 4], &code.to_be_bytes()].concat();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        (&self.client).write_all(&[&length[..], &body].concat())
    }

    /// From the broker to the client, until the broker is gone. A client that is gone changes nothing.
    fn answers(self: Arc<Self>, renamed: &[Vec<u8>; 2]) {
        while let Ok(mut bytes) = read_frame(&self.broker) {
            let Some(Pending { key, keeper }) = self.pending.lock().unwrap().pop_front() else { break };
            if [key::METADATA, key::FIND_COORDINATOR].contains(&key) {
                rename(&mut bytes, renamed);
            }
            let is_wanted = keeper.is_none_or(|keeper| {
                let (release, released) = channel();
                let kept = Kept { bytes: bytes.clone(), link: self.clone(), release };
                keeper.send(kept).is_err() || released.recv().unwrap_or(false)
            });
            if is_wanted {
                let _ = (&self.client).write_all(&bytes);
            }
        }
        let _ = self.client.shutdown(Shutdown::Both);
    }
}

/// Replaces the broker's address, which is as long as ours: a host, and right behind it the port in four bytes.
fn rename(bytes: &mut [u8], [from, to]: &[Vec<u8>; 2]) {
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        at += 1;
    }
}

fn read_frame(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let size = u32::from_be_bytes(length) as usize;
    if size > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {size} bytes")));
    }
    let mut frame = vec![0; 4 + size];
    frame[..4].copy_from_slice(&length);
    stream.read_exact(&mut frame[4..])?;
    Ok(frame)
}
