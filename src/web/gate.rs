//! The gate before what only some may do: finds out who calls, and keeps out what a page of another site makes a
//! browser send. Stands before handlers by [`Gate::protect`], which then take a [`Caller`].
//!
//! Without tokens everybody may do everything, which only a listener on loopback allows. There a page could still
//! reach it under a name of its own that it lets point to this machine, so the `Host` must be loopback's too.
//!
//! A program shows its token with every request, a browser once ([`Gate::log_in`]): then its cookie opens what the token
//! does. As a browser sends cookies by itself, what changes something then also needs the header `x-ops`, which no other
//! site can make it send.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::server::Peer;
use super::sessions::{self, Sessions};
use super::tokens::{Right, Token, Tokens};
use super::tries::Tries;

/// What a page of ours sends with whatever changes something; no form can.
pub const HAND: &str = "x-ops";

/// A listener that anybody could reach, and no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "whoever reaches {address} could do anything: give tokens ([[tokens]] in ops.toml), or listen on loopback (127.0.0.1)"
)]
pub struct Exposed {
    address: SocketAddr,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Gate {
    tokens: Arc<Tokens>,
    sessions: Arc<Sessions>,
    tries: Arc<Tries>,
}

impl Gate {
    /// The gate of a listener on `address`.
    ///
    /// # Errors
    /// [`Exposed`].
    pub fn new(address: SocketAddr, tokens: Tokens) -> Result<Self, Exposed> {
        if tokens.is_empty() && !address.ip().is_loopback() {
            return Err(Exposed { address });
        }
        Ok(Self { tokens: Arc::new(tokens), sessions: Arc::default(), tries: Arc::default() })
    }

    /// Puts the gate before all routes of `router`.
    pub fn protect<S: Clone + Send + Sync + 'static>(self, router: Router<S>) -> Router<S> {
        router.route_layer(from_fn_with_state(self, pass))
    }

    /// The same for what also those may ask who have not logged in: handlers take a [`Visitor`].
    pub fn greet<S: Clone + Send + Sync + 'static>(self, router: Router<S>) -> Router<S> {
        router.route_layer(from_fn_with_state(self, greet))
    }

    /// Does anybody need a token?
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// A token that a browser shows once, for a session; the answer is the session's id.
    ///
    /// # Errors
    /// 401: it is not known. 429: too many were not. 409: there are no tokens.
    pub fn log_in(&self, from: Peer, token: &str) -> Result<(Caller, String), Problem> {
        if !self.has_tokens() {
            let title = "There is nothing to log in to";
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "no_login",
                title,
                "this server has no tokens: all may ask",
            ));
        }
        let now = Instant::now();
        self.tries.may(from.0, now).map_err(|seconds| {
            let title = "Too many wrong tokens";
            let detail = format!("too many wrong tokens came from {}: wait", from.0);
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", title, detail).retry_after(seconds)
        })?;
        let Some(token) = self.tokens.find(token) else {
            self.tries.wrong(from.0, now);
            tracing::warn!(from = %from.0, "a login with a token that is not known");
            return Err(unauthorized("this token is not known", ", error=\"invalid_token\""));
        };
        let id = self.sessions.open(token.clone(), now);
        let id = id.ok_or_else(|| Problem::internal("this machine gives no random numbers"))?;
        Ok((Caller(Some(token)), id))
    }

    /// Forgets the session that a request shows, if it shows one.
    pub fn log_out(&self, headers: &HeaderMap) {
        if let Some(id) = sessions::shown(headers) {
            self.sessions.close(id);
        }
    }

    /// Who calls?
    fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
        self.check(method, headers)?;
        if !self.has_tokens() {
            return Ok(Caller::anybody());
        }
        if let Some(shown) = headers.get(header::AUTHORIZATION) {
            let token = shown.to_str().ok().and_then(bearer);
            let found = token.and_then(|token| self.tokens.find(token));
            let unknown = || unauthorized("this token is not known", ", error=\"invalid_token\"");
            return found.map(|token| Caller(Some(token))).ok_or_else(unknown);
        }
        let id = sessions::shown(headers).ok_or_else(|| unauthorized("no token is shown", ""))?;
        let token = self.sessions.find(id, Instant::now());
        let token = token.ok_or_else(|| unauthorized("this session is over: log in again", ""))?;
        if !changes_nothing(method) {
            must_mean_it(headers)?;
        }
        Ok(Caller(Some(token)))
    }

    /// What holds for everybody, known or not.
    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        check_site(method, headers)?;
        if self.has_tokens() { Ok(()) } else { check_host(headers) }
    }
}

/// Does the request say that it means to change something?
///
/// # Errors
/// 400: it does not.
pub fn must_mean_it(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(HAND) {
        return Ok(());
    }
    Err(Problem::bad_request(format!("what changes something needs the header {HAND}: 1")))
}

async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    match gate.admit(request.method(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn greet(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if let Err(problem) = gate.check(request.method(), request.headers()) {
        return problem.into_response();
    }
    let caller = gate.admit(request.method(), request.headers()).ok();
    request.extensions_mut().insert(Visitor(caller));
    next.run(request).await
}

/// Somebody who may have no token (any more): none is nobody that is known.
#[derive(Clone, Debug)]
pub struct Visitor(pub Option<Caller>);

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visitor = parts.extensions.get().cloned();
        visitor.ok_or_else(|| Problem::internal("this path has no gate"))
    }
}

/// Who a request is from: whoever reaches us, or the bearer of a token. Handlers ask it before they do anything.
#[derive(Clone, Debug)]
pub struct Caller(Option<Arc<Token>>);

impl Caller {
    /// Whoever reaches us, where there are no tokens.
    pub fn anybody() -> Self {
        Self(None)
    }

    /// The token's name, for the record; none if everybody may call.
    pub fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|token| token.name())
    }

    /// All that the caller may do.
    pub fn rights(&self) -> Vec<Right> {
        Right::ALL.into_iter().filter(|right| self.0.as_ref().is_none_or(|token| token.may(*right))).collect()
    }

    /// With which services: ids, `BEGINNING*` or `*`.
    pub fn services(&self) -> Vec<String> {
        self.0.as_ref().map_or_else(|| vec!["*".to_owned()], |token| token.scope().patterns())
    }

    /// May the caller do this with some service?
    ///
    /// # Errors
    /// 403: says what is lacking.
    pub fn must(&self, right: Right) -> Result<(), Problem> {
        match &self.0 {
            Some(token) if !token.may(right) => {
                Err(forbidden(format!("the token {:?} may not {right}", token.name())).with("needs", right.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Is this service one of the caller's?
    pub fn reaches(&self, service: &str) -> bool {
        self.0.as_ref().is_none_or(|token| token.scope().holds(service))
    }

    /// Is every service?
    pub fn reaches_all(&self) -> bool {
        self.0.as_ref().is_none_or(|token| token.scope().is_all())
    }

    /// May the caller do this with this service?
    ///
    /// # Errors
    /// 403: says what is lacking.
    pub fn must_with(&self, right: Right, service: &str) -> Result<(), Problem> {
        self.must(right)?;
        match &self.0 {
            Some(token) if !self.reaches(service) => {
                let detail = format!("the token {:?} is not for the service {service:?}", token.name());
                Err(forbidden(detail).with("needs", right.to_string()).with("service", service))
            }
            _ => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get().cloned();
        caller.ok_or_else(|| Problem::internal("this path has no gate"))
    }
}

/// The token of an `Authorization` header.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(detail: &str, error: &str) -> Problem {
    let title = "This needs a token: Authorization: Bearer ...";
    let challenge = HeaderValue::from_str(&format!("Bearer realm=\"hms-ops\"{error}"));
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", title, detail);
    match challenge {
        Ok(challenge) => problem.header(header::WWW_AUTHENTICATE, challenge),
        Err(_) => problem,
    }
}

fn forbidden(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "This token is not for that", detail)
}

fn changes_nothing(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// A browser says which site a request comes from. What changes nothing may come from anywhere: its answer is not
/// shown to another site.
fn check_site(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if changes_nothing(method) {
        return Ok(());
    }
    let ours = match headers.get(header::ORIGIN) {
        Some(origin) => is_origin_of(origin, headers.get(header::HOST)),
        None => headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none"),
    };
    if ours { Ok(()) } else { Err(cross_site("a page of another site may not ask for this")) }
}

/// `null`, and whatever cannot be read, is nobody's.
fn is_origin_of(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let (Some(origin), Some(host)) = (text(origin), host.and_then(text)) else { return false };
    let site = origin.strip_prefix("http://").map(|site| (site, ":80"));
    let site = site.or_else(|| origin.strip_prefix("https://").map(|site| (site, ":443")));
    // The port of the scheme may stand there or not.
    site.is_some_and(|(site, port)| site.strip_suffix(port).unwrap_or(site) == host.strip_suffix(port).unwrap_or(&host))
}

fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    // Every browser sends one; what sends none is no browser.
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    let name = authority.as_ref().map_or("", Authority::host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_ours = name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_ours { Ok(()) } else { Err(cross_site("without tokens this is served to localhost alone, by that name")) }
}

fn cross_site(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "cross_site", "This may not be asked for from there", detail)
}

#[cfg(test)]
mod tests;
