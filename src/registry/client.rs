//! The calls of the Confluent Schema Registry's API that we make, each to the end, on the thread that asks. Karapace,
//! Redpanda and Apicurio (`/apis/ccompat/v7`) answer the same.
//!
//! Errors keep apart what a caller must keep apart: the registry says no ([`Error::Refused`], with its code), or it does
//! not say anything ([`Error::Silent`]). `40401`, `40403` and their kind are answers, not errors: there is no such thing.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::codec::ids::MAX_SCHEMA_LENGTH;
use crate::world::http::{beginning, is_loopback};
use crate::world::{excerpt, install_crypto_provider, with_causes};

/// The registry's own type of JSON.
const JSON: &str = "application/vnd.schemaregistry.v1+json";
/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The longest answer that is read: a schema, and as much again for its JSON quotes.
const MAX_ANSWER: usize = 2 * MAX_SCHEMA_LENGTH;
/// How much of a refusal is shown, bytes.
const SHOWN: usize = 500;

/// The level that every subject of ours has: everybody reads everybody, in both directions.
pub const LEVEL: &str = "FULL_TRANSITIVE";

/// Where the registry is, and as whom it is asked.
#[derive(Clone, Default)]
pub struct Access {
    /// `http://` or `https://`, with the path before `/subjects` if there is one.
    pub url: String,
    /// User and password of basic authentication.
    pub user: Option<(String, String)>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("url", &self.url)
            .field("user", &self.user.as_ref().map(|(user, _)| user))
            .finish()
    }
}

/// Why a call did not bring what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that cannot be one, or that would show a password to everybody on the way.
    #[error("the schema registry's address: {0}")]
    Address(String),
    /// No answer that is the registry's: it is down, or something stands between.
    #[error("the schema registry {url} does not answer: {why}")]
    Silent {
        /// Its address.
        url: String,
        /// What was met instead.
        why: String,
    },
    /// It says no.
    #[error("the schema registry {url} refuses to {what}: {code}: {message}")]
    Refused {
        /// Its address.
        url: String,
        /// What was asked.
        what: String,
        /// The registry's code, or the HTTP status.
        code: i64,
        /// Its words.
        message: String,
    },
    /// Subjects without our schemas.
    #[error("the schema registry {url} does not have our schema under {}: run ops topics apply", .subjects.join(", "))]
    Missing {
        /// Its address.
        url: String,
        /// Which.
        subjects: Vec<String>,
    },
    /// No runtime for the calls, no thread.
    #[error("cannot start to ask the schema registry: {0}")]
    Start(#[from] std::io::Error),
}

/// A schema as the registry has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: u32,
    /// Its text.
    #[serde(default)]
    pub schema: String,
}

/// What `GET /schemas/ids/{id}` says.
#[derive(Deserialize)]
struct ById {
    schema: String,
    /// Absent: AVRO.
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Value>,
}

#[derive(Deserialize)]
struct Compatibility {
    is_compatible: bool,
    #[serde(default)]
    messages: Vec<String>,
}

#[derive(Deserialize)]
struct Level {
    #[serde(rename = "compatibilityLevel")]
    level: String,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: i64,
    message: String,
}

/// One registry. Its calls block; not to be called from inside an async runtime.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    base: Url,
    access: Access,
}

impl Client {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Start`].
    pub fn new(access: &Access) -> Result<Self, Error> {
        install_crypto_provider();
        let base = Url::parse(&access.url).map_err(|error| Error::Address(error.to_string()))?;
        let host = base.host_str().unwrap_or_default();
        if !matches!(base.scheme(), "http" | "https") || host.is_empty() {
            return Err(Error::Address("it begins with http:// or https:// and has a host".to_owned()));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(Error::Address("user and password do not stand in it; see --registry-user".to_owned()));
        }
        if access.user.is_some() && base.scheme() != "https" && !is_loopback(host) {
            return Err(Error::Address("with a password it must be https://, or everybody reads it".to_owned()));
        }
        let builder = reqwest::Client::builder().redirect(Policy::none()).timeout(DEADLINE);
        // What is on this machine is not reached through the environment's proxy.
        let builder = if is_loopback(host) { builder.no_proxy() } else { builder };
        let built = builder.user_agent(concat!("hms-ops/", env!("CARGO_PKG_VERSION"))).build();
        let http = built.map_err(|error| Error::Address(with_causes(&error)))?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { http, runtime, base, access: access.clone() })
    }

    /// What may be shown of it.
    pub fn url(&self) -> &str {
        &self.access.url
    }

    /// The Avro schema that `id` names; none if there is no such id, or what it names is no Avro schema that stands by
    /// itself.
    ///
    /// # Errors
    /// [`Error::Silent`], [`Error::Refused`].
    pub fn schema(&self, id: u32) -> Result<Option<String>, Error> {
        let id = id.to_string();
        let found: Option<ById> = self.ask(Method::GET, &["schemas", "ids", &id], None, "give a schema")?;
        let is_ours = |found: &ById| found.references.is_empty() && found.kind.as_deref().unwrap_or("AVRO") == "AVRO";
        Ok(found.filter(is_ours).map(|found| found.schema))
    }

    /// Every version of a subject, oldest first; nothing if there is no such subject.
    ///
    /// # Errors
    /// As [`Self::schema`].
    pub fn versions(&self, subject: &str) -> Result<Vec<Registered>, Error> {
        let path = ["subjects", subject, "versions"];
        let numbers: Option<Vec<u32>> = self.ask(Method::GET, &path, None, "list versions")?;
        let mut versions = Vec::new();
        for number in numbers.unwrap_or_default() {
            let path = ["subjects", subject, "versions", &number.to_string()];
            versions.extend(self.ask::<Registered>(Method::GET, &path, None, "give a version")?);
        }
        Ok(versions)
    }

    /// The id of a schema under a subject; none if it is not registered there.
    ///
    /// # Errors
    /// As [`Self::schema`].
    pub fn find(&self, subject: &str, schema: &str) -> Result<Option<u32>, Error> {
        let body = json!({"schema": schema, "schemaType": "AVRO"});
        let found: Option<Registered> = self.ask(Method::POST, &["subjects", subject], Some(&body), "find a schema")?;
        Ok(found.map(|found| found.id))
    }

    /// Registers a schema under a subject, if it is not there yet; its id.
    ///
    /// # Errors
    /// As [`Self::schema`]: 409 if it is incompatible, 422 if it is no schema.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32, Error> {
        let (path, what) = (["subjects", subject, "versions"], format!("register a schema under {subject}"));
        let body = json!({"schema": schema, "schemaType": "AVRO"});
        let found: Option<Registered> = self.ask(Method::POST, &path, Some(&body), &what)?;
        found.map(|found| found.id).ok_or_else(|| self.silent("it has no place to register schemas at"))
    }

    /// Why a schema may not become the next version of a subject; nothing if it may, or there is no such subject.
    ///
    /// # Errors
    /// As [`Self::schema`].
    pub fn incompatibilities(&self, subject: &str, schema: &str) -> Result<Option<String>, Error> {
        let path = ["compatibility", "subjects", subject, "versions"];
        let body = json!({"schema": schema, "schemaType": "AVRO"});
        let said: Option<Compatibility> = self.ask(Method::POST, &path, Some(&body), "compare a schema")?;
        let why = |said: Compatibility| excerpt(&said.messages.join("; "), SHOWN);
        Ok(said.filter(|said| !said.is_compatible).map(why))
    }

    /// The level of a subject's own; none if it has none.
    ///
    /// # Errors
    /// As [`Self::schema`].
    pub fn level(&self, subject: &str) -> Result<Option<String>, Error> {
        let found: Option<Level> = self.ask(Method::GET, &["config", subject], None, "give a level")?;
        Ok(found.map(|found| found.level))
    }

    /// Gives a subject [`LEVEL`].
    ///
    /// # Errors
    /// As [`Self::schema`].
    pub fn set_level(&self, subject: &str) -> Result<(), Error> {
        let what = format!("set the level of {subject}");
        let body = json!({"compatibility": LEVEL});
        let set: Option<Value> = self.ask(Method::PUT, &["config", subject], Some(&body), &what)?;
        set.map(drop).ok_or_else(|| self.silent("it has no place to set levels at"))
    }

    /// One call. None if the registry says that there is no such thing.
    fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        what: &str,
    ) -> Result<Option<T>, Error> {
        self.runtime.block_on(async {
            let mut url = self.base.clone();
            // It has a host, so it can be a base.
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.pop_if_empty().extend(path);
            }
            let mut request = self.http.request(method, url).header(ACCEPT, JSON);
            if let Some(body) = body {
                request = request.header(CONTENT_TYPE, JSON).body(body.to_string());
            }
            if let Some((user, password)) = &self.access.user {
                request = request.basic_auth(user, Some(password));
            }
            let answer = request.send().await.map_err(|error| self.silent(&with_causes(&error.without_url())))?;
            self.read(answer, what).await
        })
    }

    async fn read<T: for<'a> Deserialize<'a>>(&self, mut answer: Response, what: &str) -> Result<Option<T>, Error> {
        let status = answer.status();
        let (bytes, whole) = beginning(&mut answer, MAX_ANSWER).await;
        if !whole {
            return Err(self.silent("its answer is too long, or broke off"));
        }
        if status.is_success() {
            let read = serde_json::from_slice(&bytes);
            return read.map(Some).map_err(|error| self.silent(&format!("its answer is none: {error}")));
        }
        let said = serde_json::from_slice::<Refusal>(&bytes).ok();
        match said {
            // A 404 that is not in the registry's words is somebody else's: a proxy, a wrong path.
            Some(Refusal { error_code: 404 | 40400..40500, .. }) if status == StatusCode::NOT_FOUND => Ok(None),
            Some(Refusal { error_code: code, message }) if status.is_client_error() && status.as_u16() != 429 => {
                let (url, what) = (self.access.url.clone(), what.to_owned());
                Err(Error::Refused { url, what, code, message: excerpt(&message, SHOWN) })
            }
            None if matches!(status.as_u16(), 401 | 403) => {
                let (url, what, code) = (self.access.url.clone(), what.to_owned(), status.as_u16().into());
                Err(Error::Refused { url, what, code, message: "not as this user".to_owned() })
            }
            _ => Err(self.silent(&format!("status {status}: {}", excerpt(&String::from_utf8_lossy(&bytes), SHOWN)))),
        }
    }

    fn silent(&self, why: &str) -> Error {
        Error::Silent { url: self.access.url.clone(), why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_would_show_a_password_is_refused_and_nothing_of_it_repeated() {
        let user = || Some(("ops".to_owned(), "s3cret".to_owned()));
        for (url, user, taken) in [
            ("http://registry:8081", None, true),
            ("http://registry:8081", user(), false),
            ("https://registry", user(), true),
            ("http://127.0.0.1:8081/apis/ccompat/v7", user(), true),
            ("http://a:s3cret@registry", None, false),
            ("registry:8081", None, false),
            ("", None, false),
        ] {
            let access = Access { url: url.to_owned(), user };
            assert!(!format!("{access:?}").contains("s3cret") || url.contains("s3cret"));
            let made = Client::new(&access);
            assert_eq!(made.is_ok(), taken, "{url}");
            assert!(made.map_or_else(|error| !error.to_string().contains("s3cret"), |_| true), "{url}");
        }
    }
}
