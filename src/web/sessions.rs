//! Who has logged in with a browser: a page cannot keep a token safely, so it shows it once and then has a cookie that
//! no script can read. Held by [`super::gate`].
//!
//! Sessions live in memory: with the server end all of them. An id is 256 random bits and is never kept, only its
//! SHA-256, so how long a look-up takes tells nothing about an id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};

use super::tokens::Token;

/// What the cookie is called.
pub const COOKIE: &str = "ops_session";
/// How long a session lasts, s.
pub const LASTS_S: u64 = 12 * 3_600;
/// Sessions at once; the oldest makes room.
const MOST: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<HashMap<[u8; 32], Session>>,
}

#[derive(Debug)]
struct Session {
    token: Arc<Token>,
    ends: Instant,
}

impl Sessions {
    /// A session of the token's bearer; the answer is its id. None if the machine has no randomness.
    pub fn open(&self, token: Arc<Token>, now: Instant) -> Option<String> {
        let mut bytes = [0; 32];
        rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).ok()?;
        let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut open = self.of_now(now);
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, session)| session.ends).map(|(hash, _)| *hash)
        {
            open.remove(&oldest);
        }
        open.insert(hash(&id), Session { token, ends: now + Duration::from_secs(LASTS_S) });
        Some(id)
    }

    /// Whose is this?
    pub fn find(&self, id: &str, now: Instant) -> Option<Arc<Token>> {
        self.of_now(now).get(&hash(id)).map(|session| session.token.clone())
    }

    /// Forgets it.
    pub fn close(&self, id: &str) {
        self.of_now(Instant::now()).remove(&hash(id));
    }

    /// Those that are not over.
    fn of_now(&self, now: Instant) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| session.ends > now);
        open
    }
}

fn hash(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

/// The session's id that a browser shows.
pub fn shown(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::tokens::{Right, Scope};

    fn token(name: &str) -> Arc<Token> {
        let scope = Scope::new(&["*".to_owned()]).unwrap();
        Arc::new(Token::new(name, &format!("0123456789abcdef-{name}"), scope, [Right::Read]).unwrap())
    }

    #[test]
    fn a_session_is_found_by_its_id_until_it_is_closed_or_over() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let id = sessions.open(token("a"), now).unwrap();
        let other = sessions.open(token("b"), now).unwrap();
        assert!(id.len() == 64 && id != other);
        assert_eq!(sessions.find(&id, now).unwrap().name(), "a");
        assert!(sessions.find(&id[..63], now).is_none() && sessions.find("", now).is_none());
        sessions.close(&id);
        assert!(sessions.find(&id, now).is_none() && sessions.find(&other, now).is_some());
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(sessions.find(&other, later(LASTS_S - 1)).is_some());
        assert!(sessions.find(&other, later(LASTS_S)).is_none());
        assert!(!format!("{sessions:?}").contains(&other));
    }

    #[test]
    fn of_too_many_the_oldest_goes() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let token = token("a");
        let first = sessions.open(token.clone(), now).unwrap();
        let second = sessions.open(token.clone(), now + Duration::from_millis(1)).unwrap();
        for _ in 2..=MOST {
            sessions.open(token.clone(), now + Duration::from_millis(2)).unwrap();
        }
        assert!(sessions.find(&first, now).is_none() && sessions.find(&second, now).is_some());
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(shown(&headers), None);
        headers.append(header::COOKIE, "theme=dark; xops_session=no".parse().unwrap());
        headers.append(header::COOKIE, "a=b;ops_session=yes; c".parse().unwrap());
        assert_eq!(shown(&headers), Some("yes"));
    }
}
