//! Who may do what with which services: bearer tokens. Made by `cli::tokens` from `ops.toml`, asked by
//! [`super::gate`].
//!
//! A token is never kept: only its SHA-256, which is compared in constant time with that of what a caller shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::model::ids::is_service_id;

/// The shortest token that is taken, bytes: shorter ones can be guessed.
pub const SHORTEST: usize = 16;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Send readings.
    Emit,
    /// Ask.
    Read,
    /// Register services; stop actions and let them go on.
    Act,
}

impl Right {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Emit, Self::Read, Self::Act];
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emit => "emit",
            Self::Read => "read",
            Self::Act => "act",
        })
    }
}

/// Services by id, by the beginning of their ids, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    ids: BTreeSet<String>,
    beginnings: Vec<String>,
}

impl Scope {
    /// Of patterns: an id, `beginning*`, or `*`.
    ///
    /// # Errors
    /// The pattern that can match no service, or that there is none.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        let mut scope = Self::default();
        for pattern in patterns {
            match pattern.strip_suffix('*') {
                Some(beginning) if beginning.is_empty() || is_service_id(beginning) => {
                    scope.beginnings.push(beginning.to_owned());
                }
                None if is_service_id(pattern) => {
                    scope.ids.insert(pattern.clone());
                }
                _ => return Err(format!("{pattern:?} matches no service: write an id, BEGINNING* or *")),
            }
        }
        if patterns.is_empty() {
            return Err("names no service: write ids, BEGINNING* or *".to_owned());
        }
        Ok(scope)
    }

    /// Is every service one of them?
    pub fn is_all(&self) -> bool {
        self.beginnings.iter().any(String::is_empty)
    }

    /// As they were written.
    pub fn patterns(&self) -> Vec<String> {
        let beginnings = self.beginnings.iter().map(|beginning| format!("{beginning}*"));
        self.ids.iter().cloned().chain(beginnings).collect()
    }

    /// Is the service one of them?
    pub fn holds(&self, service: &str) -> bool {
        self.ids.contains(service) || self.beginnings.iter().any(|beginning| service.starts_with(beginning.as_str()))
    }
}

/// One token, without its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    name: String,
    hash: [u8; 32],
    scope: Scope,
    may: BTreeSet<Right>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}: {:?} of {:?})", self.name, self.may, self.scope)
    }
}

impl Token {
    /// A token under the name that logs show.
    ///
    /// # Errors
    /// A text that is too short or holds what no header may; one that may do nothing. Never the text.
    pub fn new(name: &str, text: &str, scope: Scope, may: impl IntoIterator<Item = Right>) -> Result<Self, String> {
        if text.len() < SHORTEST {
            return Err(format!("the token is shorter than {SHORTEST} bytes"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the token may hold visible ASCII alone".to_owned());
        }
        let may: BTreeSet<_> = may.into_iter().collect();
        if may.is_empty() {
            return Err(
                "the token may do nothing: write may = [\"emit\"], [\"read\"], [\"act\"] or more of them".to_owned()
            );
        }
        Ok(Self { name: name.to_owned(), hash: Sha256::digest(text).into(), scope, may })
    }

    /// The name that logs show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// May its bearer do this at all, if not with every service?
    pub fn may(&self, right: Right) -> bool {
        self.may.contains(&right)
    }

    /// Which services it is for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// All tokens of a service.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    all: Vec<Arc<Token>>,
}

impl Tokens {
    /// Of these.
    ///
    /// # Errors
    /// Two of one name, or with one text.
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Result<Self, String> {
        let all: Vec<_> = tokens.into_iter().map(Arc::new).collect();
        let mut names = BTreeMap::new();
        let mut hashes = BTreeMap::new();
        for token in &all {
            if names.insert(&token.name, ()).is_some() {
                return Err(format!("two tokens are called {:?}", token.name));
            }
            if let Some(other) = hashes.insert(token.hash, &token.name) {
                return Err(format!("the tokens {other:?} and {:?} are the same", token.name));
            }
        }
        Ok(Self { all })
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whose is this? Takes as long whichever it is.
    pub fn find(&self, shown: &str) -> Option<Arc<Token>> {
        let hash: [u8; 32] = Sha256::digest(shown).into();
        let mut found = None;
        for token in &self.all {
            if bool::from(token.hash.ct_eq(&hash)) {
                found = Some(token.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef";

    fn scope(patterns: &[&str]) -> Result<Scope, String> {
        Scope::new(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_scope_holds_ids_beginnings_or_all() {
        let some = scope(&["DCA_Scanner", "fleet.*"]).unwrap();
        for (service, held) in
            [("DCA_Scanner", true), ("DCA_Scanner2", false), ("fleet.7", true), ("fleet", false), ("", false)]
        {
            assert_eq!(some.holds(service), held, "{service}");
        }
        assert!(scope(&["*"]).unwrap().holds("anything"));
        for none in [&[] as &[&str], &["a b"], &["*a"], &["-*"], &[""], &["a**"]] {
            assert!(scope(none).is_err(), "{none:?}");
        }
    }

    #[test]
    fn a_token_is_found_by_its_text_and_shows_it_nowhere() {
        let token = |name: &str, text: &str| Token::new(name, text, scope(&["*"]).unwrap(), [Right::Emit]);
        let tokens = Tokens::new([token("a", TEXT).unwrap(), token("b", "fedcba9876543210").unwrap()]).unwrap();
        assert_eq!(tokens.find(TEXT).unwrap().name(), "a");
        assert_eq!(tokens.find("fedcba9876543210").unwrap().name(), "b");
        assert!(tokens.find("0123456789abcdeF").is_none() && tokens.find("").is_none());
        assert!(!format!("{tokens:?}").contains(TEXT));
        assert!(!tokens.find(TEXT).unwrap().may(Right::Read));
    }

    #[test]
    fn tokens_that_cannot_be_meant_are_refused_and_not_repeated() {
        let all = || scope(&["*"]).unwrap();
        for (text, may) in [("too-few", vec![Right::Emit]), (TEXT, vec![]), ("0123456789abcde\n", vec![Right::Emit])] {
            let error = Token::new("a", text, all(), may).unwrap_err();
            assert!(!error.contains(text), "{error}");
        }
        let token = |name: &str| Token::new(name, TEXT, all(), [Right::Emit]).unwrap();
        assert!(Tokens::new([token("a"), token("a")]).unwrap_err().contains("two tokens"));
        assert!(Tokens::new([token("a"), token("b")]).unwrap_err().contains("the same"));
    }
}
