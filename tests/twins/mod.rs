//! Twins of the services that a page goes to: servers on this machine that are held to the documented interfaces
//! (required fields, limits, codes, what joins what) and keep all that they received, so that tests count effects and
//! not calls. Faults are switched in: see [`Fault`].
//!
//! - [`pagerduty`]: the Events API v2. [`slack`]: `chat.postMessage`, `conversations.history` and `.replies`.
//! - [`registry`]: a schema registry. [`smtp`]: a mail server, by hand.

// Each binary that includes this module uses a part of it.
#![allow(dead_code)]

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, pending};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub mod pagerduty;
pub mod registry;
pub mod slack;
pub mod smtp;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status; not taken.
    Status(u16),
    /// 429 with `Retry-After`, s; not taken.
    TooMany(u64),
    /// A success that is none of this service's; not taken.
    Garbage,
    /// Never answered; not taken.
    Hang,
    /// Taken, and then 500.
    TakeAndFail,
    /// Taken, and never answered.
    TakeAndHang,
    /// The network delivers it twice.
    Twice,
    /// Taken only when the twin is told to let go; answered then, if anybody still waits.
    Late,
}

impl Fault {
    /// Does the caller know from the answer that nothing was taken?
    fn is_clear(self) -> bool {
        matches!(self, Self::Status(400..500 | 503) | Self::TooMany(_))
    }
}

/// The faults of one kind of call, and who has called.
#[derive(Clone)]
pub struct Calls(Arc<CallsState>);

struct CallsState {
    next: Mutex<VecDeque<Option<Fault>>>,
    always: Mutex<Option<Fault>>,
    /// How many calls were made.
    count: watch::Sender<u64>,
    /// Those that are late are let go.
    let_go: watch::Sender<bool>,
    /// Of each action: how often it was sent, and whether it may have been taken by now.
    sent: Mutex<BTreeMap<String, Sent>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    repeats: u64,
    maybe_taken: bool,
}

impl Default for Calls {
    fn default() -> Self {
        Self(Arc::new(CallsState {
            next: Mutex::default(),
            always: Mutex::default(),
            count: watch::channel(0).0,
            let_go: watch::channel(false).0,
            sent: Mutex::default(),
        }))
    }
}

impl Calls {
    /// The next calls meet these, one each.
    pub fn meet(&self, faults: &[Fault]) {
        self.meet_some(faults.iter().copied().map(Some));
    }

    /// The same; `None` is a call that goes well.
    pub fn meet_some(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.0.next.lock().unwrap().extend(faults);
    }

    /// Every call meets this, if no other fault is next.
    pub fn always(&self, fault: Option<Fault>) {
        *self.0.always.lock().unwrap() = fault;
    }

    /// Takes what was held back.
    pub fn let_go(&self) {
        self.0.let_go.send_replace(true);
    }

    /// How many calls there were.
    pub fn count(&self) -> u64 {
        *self.0.count.borrow()
    }

    /// Waits until there were so many calls.
    pub async fn reached(&self, count: u64) {
        // The twin lives as long as the test.
        self.0.count.subscribe().wait_for(|now| *now >= count).await.unwrap();
    }

    /// How many sends there were of something that may have been taken already, by the answer to an earlier one.
    pub fn repeats(&self) -> u64 {
        self.0.sent.lock().unwrap().values().map(|sent| sent.repeats).sum()
    }

    /// One call: what it meets, and what becomes of it. `id` says which are the same; `take` does what is asked.
    async fn answer(&self, id: &str, take: impl Fn() -> Response + Send + 'static) -> Response {
        let fault = self.0.next.lock().unwrap().pop_front().unwrap_or(*self.0.always.lock().unwrap());
        {
            let mut all = self.0.sent.lock().unwrap();
            let sent = all.entry(id.to_owned()).or_default();
            sent.repeats += u64::from(sent.maybe_taken);
            sent.maybe_taken |= fault.is_none_or(|fault| !fault.is_clear());
        }
        let answer = self.meet_with(fault, take);
        self.0.count.send_modify(|count| *count += 1);
        answer.await
    }

    /// What is taken is taken by the time that this returns; its answer may never come.
    fn meet_with(
        &self,
        fault: Option<Fault>,
        take: impl Fn() -> Response + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let status = |status: u16| StatusCode::from_u16(status).unwrap().into_response();
        let now = match fault {
            None => Some(take()),
            Some(Fault::Status(code)) => Some(status(code)),
            Some(Fault::TooMany(seconds)) => {
                let body = axum::Json(json!({"ok": false, "error": "ratelimited"}));
                Some((StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())], body).into_response())
            }
            Some(Fault::Garbage) => {
                Some((StatusCode::OK, "<html>Welcome to the airport's wireless</html>").into_response())
            }
            Some(Fault::TakeAndFail) => {
                take();
                Some(status(500))
            }
            Some(Fault::Twice) => {
                take();
                Some(take())
            }
            Some(Fault::TakeAndHang) => {
                take();
                None
            }
            Some(Fault::Hang) => None,
            Some(Fault::Late) => {
                let mut let_go = self.0.let_go.subscribe();
                // A task of its own: it is taken also if nobody waits any more.
                let late = tokio::spawn(async move {
                    let_go.wait_for(|let_go| *let_go).await.unwrap();
                    take()
                });
                return Box::pin(async move { late.await.unwrap() });
            }
        };
        Box::pin(async move {
            match now {
                Some(response) => response,
                None => pending().await,
            }
        })
    }
}

/// Serves as long as the runtime lives; gives the address.
pub async fn serve(router: Router) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        // Until the runtime ends.
        let _ = axum::serve(listener, router).await;
    });
    url
}
