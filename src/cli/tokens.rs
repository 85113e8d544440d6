//! The tokens of `ops.toml`: who may call what listens. Like every secret they are named there, by a variable of the
//! environment or a file, and never stand in it. Part of [`super::config`].

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use serde::Deserialize;

use super::channels::secret;
use super::config::Config;
use crate::web::{Right, Scope, Token, Tokens};

/// One token; its text exactly once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    name: String,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    services: Vec<String>,
    may: Vec<Right>,
}

impl TokenConfig {
    fn token(&self, environment: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Token> {
        let text = secret("token", (&self.token_file, &self.token_env), environment)?;
        let scope = Scope::new(&self.services).map_err(|why| anyhow!("services: {why}"))?;
        Token::new(&self.name, &text, scope, self.may.iter().copied()).map_err(|why| anyhow!(why))
    }
}

impl Config {
    /// The tokens, fetched from `environment` and files.
    ///
    /// # Errors
    /// One that is not there, or cannot be meant. Never the token itself.
    pub fn tokens(&self, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<Tokens> {
        let tokens = self.tokens.iter().map(|config| {
            config.token(&environment).with_context(|| format!("the token {:?} of [[tokens]]", config.name))
        });
        let tokens = tokens.collect::<anyhow::Result<Vec<_>>>()?;
        Tokens::new(tokens).map_err(|why| anyhow!("[[tokens]]: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "t0ken-of-the-edge";

    fn load(text: &str) -> anyhow::Result<Tokens> {
        toml::from_str::<Config>(text)?.tokens(|name| (name == "EDGE").then(|| TEXT.to_owned()))
    }

    #[test]
    fn tokens_come_from_files_and_the_environment() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reader");
        std::fs::write(&file, "t0ken-of-the-reader\n").unwrap();
        let tokens = load(&format!(
            "[[tokens]]\nname = \"edge\"\ntoken_env = \"EDGE\"\nservices = [\"DCA_*\"]\nmay = [\"emit\"]\n\
             [[tokens]]\nname = \"reader\"\ntoken_file = {file:?}\nservices = [\"*\"]\nmay = [\"read\"]\n"
        ))
        .unwrap();
        let edge = tokens.find(TEXT).unwrap();
        assert!(edge.may(Right::Emit) && !edge.may(Right::Read) && edge.scope().holds("DCA_Scanner"));
        assert_eq!(tokens.find("t0ken-of-the-reader").unwrap().name(), "reader");
    }

    #[test]
    fn what_cannot_be_meant_is_an_error_and_no_token_is_repeated() {
        for (text, said) in [
            ("services = [\"*\"]\nmay = [\"emit\"]", "give one of token_file, token_env"),
            ("token_env = \"NOPE\"\nservices = [\"*\"]\nmay = [\"emit\"]", "NOPE"),
            ("token_env = \"EDGE\"\nservices = []\nmay = [\"emit\"]", "names no service"),
            ("token_env = \"EDGE\"\nservices = [\"a b\"]\nmay = [\"emit\"]", "matches no service"),
            ("token_env = \"EDGE\"\nservices = [\"*\"]\nmay = []", "may do nothing"),
            ("token_env = \"EDGE\"\nservices = [\"*\"]\nmay = [\"everything\"]", "unknown variant `everything`"),
            ("token = \"t0ken\"\nservices = [\"*\"]\nmay = [\"emit\"]", "unknown field `token`"),
        ] {
            let error = format!("{:#}", load(&format!("[[tokens]]\nname = \"edge\"\n{text}\n")).unwrap_err());
            assert!(error.contains(said) && !error.contains(TEXT), "{text}: {error}");
        }
    }
}
