//! Logging in with a browser: the cookie opens what the token opens, here and nowhere else.

use super::*;

/// A server with two tokens, and the cookie of a session of `human`.
fn logged_in(at: &Installation) -> (Room, String) {
    let room = Room::open(at, tokens());
    let response = room.send(room.post("/api/v1/login", &json!({"token": secret("human")})));
    assert_eq!(response.status(), StatusCode::OK);
    let set = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    let (cookie, rest) = set.split_once("; ").unwrap();
    assert_eq!(rest, "HttpOnly; SameSite=Strict; Path=/; Max-Age=43200");
    (room, cookie.to_owned())
}

fn tokens() -> Tokens {
    Tokens::new([token("human", [Right::Read, Right::Act]), token("edge", [Right::Emit])]).unwrap()
}

#[test]
fn a_browser_logs_in_once_and_its_cookie_opens_what_the_token_opens() {
    let at = Installation::new();
    at.register_text(SPEC, &["--no-wait"]);
    let (room, cookie) = logged_in(&at);
    let asks = |path: &str| room.get(path).header("cookie", cookie.clone());
    let acts = |path: &str, body: &Value| room.post(path, body).header("cookie", cookie.clone());
    assert_eq!(room.text(room.get("/")).0, StatusCode::OK, "the page itself is for everybody");
    assert_eq!(room.text(room.get("/api/v1/services")).0, StatusCode::UNAUTHORIZED);
    assert_eq!(room.json(asks("/api/v1/services")).1["services"][0]["service"], "Scanner");
    let me = room.json(asks("/api/v1/me")).1;
    assert_eq!(
        (&me["name"], &me["rights"], &me["services"]),
        (&json!("human"), &json!(["read", "act"]), &json!(["*"]))
    );

    let response = room.send(asks("/api/v1/stream"));
    assert_eq!(response.status(), StatusCode::OK);
    let first = Stream { room: &room, response, buffer: String::new() }.next().unwrap();
    assert_eq!((first.name.as_str(), &first.data["services"][0]["service"]), ("reset", &json!("Scanner")));

    // A browser sends the cookie by itself; what it cannot send by itself is missing here.
    let body = json!({"service": "Scanner", "reason": "a deploy"});
    let without = room.client.post(room.url("/api/v1/freeze")).json(&body).header("cookie", cookie.clone());
    assert_eq!(room.text(without).0, StatusCode::BAD_REQUEST);
    let cross = acts("/api/v1/freeze", &body).header("origin", "http://evil.example");
    assert_eq!(room.text(cross).0, StatusCode::FORBIDDEN);
    assert_eq!(room.json(asks("/api/v1/actions")).1["frozen"], json!([]));
    let ours = acts("/api/v1/freeze", &body).header("origin", room.url(""));
    let (status, event) = room.json(ours);
    assert_eq!((status, &event["actor"]), (StatusCode::OK, &json!("war room: human")), "{event}");

    // Another instance knows the token, not the session.
    let other = Room::open(&at, tokens());
    assert_eq!(other.text(other.get("/api/v1/services").header("cookie", cookie.clone())).0, StatusCode::UNAUTHORIZED);

    let out = room.send(acts("/api/v1/logout", &json!({})));
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(room.text(asks("/api/v1/services")).0, StatusCode::UNAUTHORIZED);
    assert_eq!(room.json(asks("/api/v1/me")).1["name"], Value::Null);
}

#[test]
fn who_is_nobody_is_told_so_and_who_guesses_is_slowed_down() {
    let at = Installation::new();
    let room = Room::open(&at, tokens());
    let (status, me) = room.json(room.get("/api/v1/me"));
    assert_eq!((status, &me["login"], &me["rights"]), (StatusCode::OK, &json!("token"), &json!([])));
    let tries = |token: &str| room.send(room.post("/api/v1/login", &json!({"token": token})));
    let plain = room.client.post(room.url("/api/v1/login")).json(&json!({"token": secret("human")}));
    assert_eq!(room.text(plain).0, StatusCode::BAD_REQUEST, "no page of another site logs anybody in");
    assert_eq!(tries("not-the-secret-of-human").status(), StatusCode::UNAUTHORIZED);
    let refused = room.until("a refusal", || {
        let response = tries("not-the-secret-of-human");
        (response.status() == StatusCode::TOO_MANY_REQUESTS).then_some(response)
    });
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(tries(&secret("human")).status(), StatusCode::TOO_MANY_REQUESTS, "not even the right one");
    let shown = room.get("/api/v1/services").bearer_auth(secret("human"));
    assert_eq!(room.text(shown).0, StatusCode::OK, "programs are not held up");
    let open = Room::open(&at, Tokens::default());
    assert_eq!(open.json(open.get("/api/v1/me")).1["login"], "none");
    let nothing = open.post("/api/v1/login", &json!({"token": "x"}));
    assert_eq!(open.json(nothing).1["type"], "urn:hms-ops:problem:no_login");
}
