//! The schemas of what the vault holds, in the vault: `schemas/<name>-<fingerprint>.avsc`, so that its records
//! can be read when nothing else of this system is left.
//!
//! The fingerprint is the one in the records' first bytes (`C3 01` + 8 bytes, CRC-64-AVRO of the canonical
//! form), in hex in the order of those bytes. The archiver keeps its schemas before its first segment.

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use futures_util::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::error::VaultError;
use super::{SCHEMAS, Vault};

/// A schema in the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSchema {
    /// The record's name, without its namespace.
    pub name: String,
    /// 16 hex digits, in the order of a record's bytes.
    pub fingerprint: String,
    /// As it was given to the vault.
    pub text: String,
}

impl Vault {
    /// Keeps the text of a named schema, for ever. One that is there already stays as it is.
    pub async fn keep_schema(&self, text: &str) -> Result<(), VaultError> {
        let bad = |why: String| VaultError::BadSchema { why };
        let schema = Schema::parse_str(text).map_err(|error| bad(error.to_string()))?;
        let name = schema.name().ok_or_else(|| bad("it has no name".into()))?.name.clone();
        let fingerprint = schema.fingerprint::<Rabin>();
        self.create(&format!("{SCHEMAS}/{name}-{fingerprint}.avsc"), text.to_owned()).await
    }

    /// All schemas in the vault, by name and fingerprint.
    pub async fn schemas(&self) -> Result<Vec<StoredSchema>, VaultError> {
        let read = |source| VaultError::Read { path: SCHEMAS.to_owned(), source };
        let listed = self.store.list(Some(&Path::from(SCHEMAS))).try_collect::<Vec<_>>().await.map_err(read)?;
        let mut schemas = Vec::new();
        for object in listed {
            let path = object.location.to_string();
            let stem = object.location.filename().and_then(|name| name.strip_suffix(".avsc"));
            let Some((name, fingerprint)) = stem.and_then(|stem| stem.rsplit_once('-')) else { continue };
            let text = String::from_utf8(self.bytes(&path).await?)
                .map_err(|error| VaultError::Damaged { path, why: error.to_string() })?;
            schemas.push(StoredSchema { name: name.to_owned(), fingerprint: fingerprint.to_owned(), text });
        }
        schemas.sort_by(|a, b| (&a.name, &a.fingerprint).cmp(&(&b.name, &b.fingerprint)));
        Ok(schemas)
    }
}
