//! The schemas of what the vault holds, in the vault: `schemas/<name>-<fingerprint>.avsc`, so that its records
//! can be read when nothing else of this system is left.
//!
//! The fingerprint is the one in the records' first bytes (`C3 01` + 8 bytes, CRC-64-AVRO of the canonical
//! form), in hex in the order of those bytes. The archiver keeps its schemas before its first segment.
//!
//! Records that name their schema by an id of a registry instead (`00` + 4 bytes) are kept as they are, and beside the
//! schemas lies what the ids name: `schemas/ids/<id>.json`. So nobody needs that registry to read the vault.

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use futures_util::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::error::VaultError;
use super::{SCHEMAS, Vault};
use crate::codec::ids::Ids;

/// The folder of the ids, in that of the schemas.
const IDS: &str = "ids";

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

/// What an id of the registry names.
#[derive(Deserialize, Serialize, PartialEq, Eq)]
struct StoredId {
    id: u32,
    /// The file beside, in `schemas/`.
    schema: String,
}

impl StoredSchema {
    fn file(&self) -> String {
        format!("{}-{}.avsc", self.name, self.fingerprint)
    }
}

impl Vault {
    /// Keeps what the ids of a registry name, of the schemas that the vault has. To be called after those are kept.
    ///
    /// # Errors
    /// `BadSchema` if an id names another schema in the vault: it is another registry's, and records of both could not be
    /// told apart.
    pub async fn keep_ids(&self, ids: &Ids) -> Result<(), VaultError> {
        let schemas = self.schemas().await?;
        for (id, fingerprint) in ids.of_ours() {
            let Some(schema) = schemas.iter().find(|schema| schema.fingerprint == fingerprint) else { continue };
            let stored = StoredId { id, schema: schema.file() };
            let path = format!("{SCHEMAS}/{IDS}/{id}.json");
            let bad = |why: String| VaultError::BadSchema { why };
            self.create(&path, serde_json::to_string(&stored).map_err(|error| bad(error.to_string()))?).await?;
            let found = self.stored_id(&path).await?;
            if found != stored {
                let why = format!("id {id} of the registry names {}, and {} in the vault", stored.schema, found.schema);
                return Err(bad(why));
            }
        }
        Ok(())
    }

    /// What the ids in the vault name.
    pub async fn ids(&self) -> Result<Ids, VaultError> {
        let schemas = self.schemas().await?;
        let folder = format!("{SCHEMAS}/{IDS}");
        let read = |source| VaultError::Read { path: folder.clone(), source };
        let listed = self.store.list(Some(&Path::from(folder.as_str()))).try_collect::<Vec<_>>().await.map_err(read)?;
        let mut ids = Ids::default();
        for object in listed.iter().filter(|object| object.location.extension() == Some("json")) {
            let stored = self.stored_id(object.location.as_ref()).await?;
            let schema = schemas.iter().find(|schema| schema.file() == stored.schema);
            ids.learn(stored.id, schema.map(|schema| schema.text.as_str()));
        }
        Ok(ids)
    }

    async fn stored_id(&self, path: &str) -> Result<StoredId, VaultError> {
        let damaged = |why: serde_json::Error| VaultError::Damaged { path: path.to_owned(), why: why.to_string() };
        serde_json::from_slice(&self.bytes(path).await?).map_err(damaged)
    }

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
