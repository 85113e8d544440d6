//! The gate before what only some may do: finds out who calls, and keeps out what a page of another site makes a
//! browser send. Stands before handlers by [`Gate::protect`], which then take a [`Caller`].
//!
//! Without tokens everybody may do everything, which only a listener on loopback allows. There a page could still
//! reach it under a name of its own that it lets point to this machine, so the `Host` must be loopback's too.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::tokens::{Right, Token, Tokens};

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
        Ok(Self { tokens: Arc::new(tokens) })
    }

    /// Puts the gate before all routes of `router`.
    pub fn protect<S: Clone + Send + Sync + 'static>(self, router: Router<S>) -> Router<S> {
        router.route_layer(from_fn_with_state(self, pass))
    }

    /// Who calls?
    fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
        check_site(method, headers)?;
        if self.tokens.is_empty() {
            check_host(headers)?;
            return Ok(Caller(None));
        }
        let shown = headers.get(header::AUTHORIZATION).ok_or_else(|| unauthorized("no token is shown", ""))?;
        let token = shown.to_str().ok().and_then(bearer);
        let found = token.and_then(|token| self.tokens.find(token));
        found
            .map(|token| Caller(Some(token)))
            .ok_or_else(|| unauthorized("this token is not known", ", error=\"invalid_token\""))
    }
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

/// Who a request is from: whoever reaches us, or the bearer of a token. Handlers ask it before they do anything.
#[derive(Clone, Debug)]
pub struct Caller(Option<Arc<Token>>);

impl Caller {
    /// The token's name, for the record; none if everybody may call.
    pub fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|token| token.name())
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

/// A browser says which site a request comes from. What changes nothing may come from anywhere: its answer is not
/// shown to another site.
fn check_site(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
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
mod tests {
    use super::*;
    use crate::web::tokens::Scope;

    const TEXT: &str = "0123456789abcdef";

    fn gate(tokens: bool) -> Gate {
        let token = || Token::new("t", TEXT, Scope::new(&["a*".to_owned()]).unwrap(), [Right::Emit]).unwrap();
        let tokens = Tokens::new(tokens.then(token)).unwrap();
        Gate::new("127.0.0.1:1".parse().unwrap(), tokens).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn admitted(gate: &Gate, pairs: &[(&'static str, &str)]) -> Result<Caller, u16> {
        gate.admit(&Method::POST, &headers(pairs)).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn only_loopback_may_go_without_tokens() {
        for (address, open) in
            [("127.0.0.1:80", true), ("[::1]:80", true), ("0.0.0.0:80", false), ("10.0.0.1:80", false)]
        {
            let address: SocketAddr = address.parse().unwrap();
            let gate = Gate::new(address, Tokens::default());
            assert_eq!(gate.is_ok(), open, "{address}");
            let tokens = gate_tokens();
            assert!(Gate::new(address, tokens).is_ok());
        }
    }

    fn gate_tokens() -> Tokens {
        (*gate(true).tokens).clone()
    }

    #[test]
    fn a_token_opens_what_it_is_for_and_nothing_else() {
        let gate = gate(true);
        assert_eq!(admitted(&gate, &[]).unwrap_err(), 401);
        for wrong in ["Bearer", "Bearer ", "Basic 0123456789abcdef", "Bearer 0123456789abcdeF", "0123456789abcdef"] {
            assert_eq!(admitted(&gate, &[("authorization", wrong)]).unwrap_err(), 401, "{wrong}");
        }
        let caller = admitted(&gate, &[("authorization", &format!("bearer {TEXT}"))]).unwrap();
        assert!(caller.must_with(Right::Emit, "abc").is_ok());
        assert!(caller.must_with(Right::Emit, "b").unwrap_err().detail().contains("not for the service \"b\""));
        assert!(caller.must_with(Right::Read, "abc").unwrap_err().detail().contains("may not read"));
    }

    #[test]
    fn a_page_of_another_site_is_kept_out() {
        let gate = gate(false);
        let host = ("host", "127.0.0.1:8080");
        for (origin, ours) in [
            ("http://127.0.0.1:8080", true),
            ("http://127.0.0.1:8081", false),
            ("http://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(admitted(&gate, &[host, ("origin", origin)]).is_ok(), ours, "{origin}");
        }
        assert!(admitted(&gate, &[("origin", "http://127.0.0.1:8080")]).is_err(), "no host to compare it with");
        assert!(admitted(&gate, &[host, ("sec-fetch-site", "cross-site")]).is_err());
        assert!(admitted(&gate, &[host, ("sec-fetch-site", "same-origin")]).is_ok());
        assert!(admitted(&gate, &[host]).is_ok() && admitted(&gate, &[]).is_ok(), "no browser");
        let same = headers(&[("host", "ops.example"), ("origin", "https://ops.example:443")]);
        assert!(check_site(&Method::POST, &same).is_ok());
    }

    #[test]
    fn a_foreign_name_that_points_to_this_machine_opens_nothing_without_tokens() {
        let gate = gate(false);
        for (host, ours) in [
            ("localhost:80", true),
            ("[::1]:80", true),
            ("127.0.0.1", true),
            ("evil.example:80", false),
            ("10.0.0.1", false),
        ] {
            let origin = format!("http://{host}");
            assert_eq!(admitted(&gate, &[("host", host), ("origin", &origin)]).is_ok(), ours, "{host}");
            assert_eq!(gate.admit(&Method::GET, &headers(&[("host", host)])).is_ok(), ours, "{host}");
        }
    }
}
