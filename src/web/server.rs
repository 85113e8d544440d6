//! A listener with its limits, on a thread of its own: the one place that says what an HTTP service of ours stands.
//!
//! HTTP/1.1 without TLS: that is for what stands in front of it. Slow heads and idle connections are closed, slow or
//! long bodies refused ([`super::extract`]), all bodies together held within a bound. Connections beyond the limit are
//! told to come again ([`full`]). Started by commands; ends when it is dropped: no new connections, requests in hand are
//! answered.

mod full;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, Request};
use axum::middleware::from_fn;
use axum::{Extension, Router};
use full::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::problem::{Problem, no_method, no_path, tell_instance};

/// After a connection could not be taken (no file descriptor is left), until the next is tried.
const BREATH: Duration = Duration::from_millis(100);
/// What memory for bodies is counted in, bytes.
const BLOCK: usize = 1024;

/// What a server stands.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest body, as it is sent, bytes.
    pub body_bytes: usize,
    /// All bodies that are held at once, bytes.
    pub bodies_bytes: usize,
    /// A whole body comes within.
    pub body_within: Duration,
    /// The longest head, bytes; at least 8 KiB.
    pub head_bytes: usize,
    /// A whole head comes within; also how long a connection may be idle.
    pub head_within: Duration,
    /// Connections at once; further ones are refused with 503. Fewer if the process may not open so many files.
    pub connections: usize,
    /// At the end, requests in hand have so long.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            bodies_bytes: 64 * 1024 * 1024,
            body_within: Duration::from_secs(30),
            head_bytes: 16 * 1024,
            head_within: Duration::from_secs(60),
            connections: 1024,
            grace: Duration::from_secs(5),
        }
    }
}

/// How a server is started.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Name of its thread.
    pub name: &'static str,
    /// Threads that answer requests.
    pub threads: usize,
    /// What it stands.
    pub limits: Limits,
}

impl Options {
    /// One thread, the usual limits.
    pub fn new(name: &'static str, address: SocketAddr) -> Self {
        Self { address, name, threads: 1, limits: Limits::default() }
    }
}

/// A running server. See the module.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and answers by `router`; what that does not know is answered with problems.
    ///
    /// # Errors
    /// The address is taken, or none of this machine.
    pub fn start(options: Options, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(options.address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime(&options)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(options.name.into()).spawn(move || {
            let served = runtime.block_on(serve(listener, router, options.limits, stopped));
            if let Err(error) = served {
                tracing::error!(%error, server = options.name, "nothing is served any more");
            }
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already if the server has ended by itself.
        self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn runtime(options: &Options) -> io::Result<Runtime> {
    if options.threads <= 1 {
        return Builder::new_current_thread().enable_all().build();
    }
    Builder::new_multi_thread().worker_threads(options.threads).thread_name(options.name).enable_all().build()
}

/// Until `stopped`.
async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = router
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn(tell_instance))
        .layer(Extension(Room::new(limits)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_within).max_header_size(limits.head_bytes);
    let places = Arc::new(Semaphore::new(full::places(limits.connections)));
    let graceful = GracefulShutdown::new();
    let service = TowerToHyperService::new(router);
    let mut full = Full::default();
    loop {
        let (stream, peer) = tokio::select! {
            taken = take(&listener) => taken,
            () = full.let_go() => continue,
            _ = &mut stopped => break,
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            full.refuse(stream);
            continue;
        };
        let service = service.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            service.call(request)
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // Who goes away in the middle, or sends what is no HTTP, harms nobody.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(grace = ?limits.grace, "requests were cut off");
    }
    Ok(())
}

/// The next connection, and who is at its other end.
async fn take(listener: &tokio::net::TcpListener) -> (TcpStream, Peer) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are short and whole.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection was gone at once");
                }
                return (stream, Peer(address.ip().to_canonical()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Whose connection a request came by: a browser's, or that of what stands in front of us. Handlers find it in the
/// request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().copied().ok_or_else(|| Problem::internal("this path has no server"))
    }
}

/// The memory that all bodies of a server share. Extractors and handlers find it in the request.
#[derive(Clone, Debug)]
pub struct Room {
    limits: Limits,
    blocks: Arc<Semaphore>,
}

/// A share of it, given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    _blocks: OwnedSemaphorePermit,
}

impl Room {
    /// All of it is free.
    pub fn new(limits: Limits) -> Self {
        Self { limits, blocks: Arc::new(Semaphore::new(limits.bodies_bytes / BLOCK)) }
    }

    /// That of the server which took the request.
    ///
    /// # Errors
    /// The router is not run by a [`Server`].
    pub fn of(extensions: &Extensions) -> Result<Self, Problem> {
        extensions.get().cloned().ok_or_else(|| Problem::internal("this path has no server"))
    }

    /// What the server stands.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Holds so many bytes, now or not at all.
    ///
    /// # Errors
    /// 429: others hold too much.
    pub fn hold(&self, bytes: usize) -> Result<Held, Problem> {
        let blocks = u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX);
        match self.blocks.clone().try_acquire_many_owned(blocks) {
            Ok(blocks) => Ok(Held { _blocks: blocks }),
            Err(_) => Err(Problem::overloaded("the bodies of other requests fill the memory for them")),
        }
    }
}

#[cfg(test)]
mod tests;
