//! Who asks: a browser shows its token once and has a cookie from then on.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::table::Endpoint;
use super::{Answer, Desk, must_mean_it};
use crate::web::sessions::{COOKIE, LASTS_S};
use crate::web::{Caller, Peer, Problem, Right, Visitor, extract};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/me", me, "Who asks, and what that one may do; never 401").sends::<Me>(),
        Endpoint::post("/api/v1/login", log_in, "Trades a token for the cookie of a session, for 12 hours")
            .by_hand()
            .takes::<Login>()
            .sends::<Me>(),
        Endpoint::post("/api/v1/logout", log_out, "Ends the session of the cookie").by_hand(),
    ]
}

/// Is there anything to log in to?
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum LoginKind {
    /// No: whoever reaches this may do everything.
    None,
    /// By a token.
    Token,
}

/// Who asks.
#[derive(Serialize, JsonSchema)]
struct Me {
    login: LoginKind,
    /// Of the token; null if none is known or needed.
    name: Option<String>,
    rights: Vec<Right>,
    /// With which services: ids, `BEGINNING*` or `*`.
    services: Vec<String>,
    /// Of this server.
    version: &'static str,
}

impl Me {
    fn of(desk: &Desk, caller: Option<&Caller>) -> Self {
        Self {
            login: if desk.gate.has_tokens() { LoginKind::Token } else { LoginKind::None },
            name: caller.and_then(Caller::name).map(str::to_owned),
            rights: caller.map_or_else(Vec::new, Caller::rights),
            services: caller.map_or_else(Vec::new, Caller::services),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

async fn me(State(desk): State<Desk>, Visitor(caller): Visitor) -> Answer {
    Ok((unkept(), Json(Me::of(&desk, caller.as_ref()))).into_response())
}

/// What is shown once.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

async fn log_in(
    State(desk): State<Desk>,
    peer: Peer,
    asked: HeaderMap,
    extract::Json(login): extract::Json<Login>,
) -> Answer {
    must_mean_it(&asked)?;
    let (caller, id) = desk.gate.log_in(peer, login.token.trim())?;
    tracing::info!(name = caller.name(), from = %peer.0, "somebody logged in");
    let cookie = cookie(&asked, &id, LASTS_S)?;
    Ok((unkept(), cookie, Json(Me::of(&desk, Some(&caller)))).into_response())
}

async fn log_out(State(desk): State<Desk>, asked: HeaderMap) -> Answer {
    must_mean_it(&asked)?;
    desk.gate.log_out(&asked);
    Ok((StatusCode::NO_CONTENT, cookie(&asked, "", 0)?).into_response())
}

/// No other site's page makes a browser send it, and no script reads it.
fn cookie(asked: &HeaderMap, id: &str, seconds: u64) -> Result<[(header::HeaderName, HeaderValue); 1], Problem> {
    let is_https = |origin: &HeaderValue| origin.as_bytes().starts_with(b"https://");
    let secure = if asked.get(header::ORIGIN).is_some_and(is_https) { "; Secure" } else { "" };
    let text = format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}");
    let value = HeaderValue::from_str(&text).map_err(|_| Problem::internal("the cookie is no header"))?;
    Ok([(header::SET_COOKIE, value)])
}

fn unkept() -> [(header::HeaderName, HeaderValue); 1] {
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_came_by_https_goes_by_nothing_else() {
        let of = |origin: &str| {
            let asked = HeaderMap::from_iter([(header::ORIGIN, origin.parse().unwrap())]);
            cookie(&asked, "1f", 5).unwrap()[0].1.to_str().unwrap().to_owned()
        };
        let plain = "ops_session=1f; HttpOnly; SameSite=Strict; Path=/; Max-Age=5";
        assert_eq!(of("http://ops.example"), plain);
        assert_eq!(of("https://ops.example"), format!("{plain}; Secure"));
    }
}
