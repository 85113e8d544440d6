//! Who is let in, and who is not.

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
    for (address, open) in [("127.0.0.1:80", true), ("[::1]:80", true), ("0.0.0.0:80", false), ("10.0.0.1:80", false)] {
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

fn peer() -> Peer {
    Peer("10.0.0.1".parse().unwrap())
}

#[test]
fn a_session_opens_what_its_token_opens_until_it_is_closed() {
    let gate = gate(true);
    let (caller, id) = gate.log_in(peer(), TEXT).unwrap();
    assert_eq!((caller.name(), caller.rights(), caller.services()), (Some("t"), vec![Right::Emit], vec!["a*".into()]));
    let cookie = format!("ops_session={id}");
    let shown = [("cookie", cookie.as_str()), ("x-ops", "1")];
    let caller = admitted(&gate, &shown).unwrap();
    assert!(caller.must_with(Right::Emit, "abc").is_ok() && caller.must_with(Right::Emit, "b").is_err());
    // The token that is shown decides, right or wrong.
    assert_eq!(admitted(&gate, &[shown[0], shown[1], ("authorization", "Bearer 0123456789abcdeF")]).unwrap_err(), 401);
    // Another instance knows nothing of it, nor does this one when it is closed.
    assert_eq!(admitted(&self::gate(true), &shown).unwrap_err(), 401);
    gate.log_out(&headers(&shown));
    assert_eq!(admitted(&gate, &shown).unwrap_err(), 401);
}

/// The control is the read: the same cookie, nothing is changed.
#[test]
fn a_cookie_changes_nothing_for_another_site_nor_without_the_header_that_no_form_sends() {
    let gate = gate(true);
    let (_, id) = gate.log_in(peer(), TEXT).unwrap();
    let cookie = format!("ops_session={id}");
    let (cookie, hand, host) = (("cookie", cookie.as_str()), ("x-ops", "1"), ("host", "ops.example"));
    assert_eq!(admitted(&gate, &[cookie]).unwrap_err(), 400);
    assert_eq!(admitted(&gate, &[cookie, hand, host, ("origin", "https://evil.example")]).unwrap_err(), 403);
    assert_eq!(admitted(&gate, &[cookie, hand, host, ("origin", "null")]).unwrap_err(), 403);
    assert!(admitted(&gate, &[cookie, hand, host, ("origin", "https://ops.example")]).is_ok());
    assert!(gate.admit(&Method::GET, &headers(&[cookie])).is_ok());
    assert!(admitted(&gate, &[("authorization", &format!("Bearer {TEXT}"))]).is_ok(), "a program means it");
}

#[test]
fn who_guesses_tokens_waits_even_for_the_right_one() {
    let gate = gate(true);
    let failed = |from, token: &str| gate.log_in(from, token).unwrap_err();
    while failed(peer(), "0123456789abcdeF").status() == StatusCode::UNAUTHORIZED {}
    let refused = failed(peer(), TEXT);
    assert_eq!((refused.status(), refused.kind()), (StatusCode::TOO_MANY_REQUESTS, "too_many_tries"));
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    assert!(gate.log_in(Peer("10.0.0.2".parse().unwrap()), TEXT).is_ok(), "somebody else");
    assert_eq!(failed_without_tokens().kind(), "no_login");
}

fn failed_without_tokens() -> Problem {
    gate(false).log_in(peer(), TEXT).unwrap_err()
}
