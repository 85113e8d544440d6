//! The memory of the simulated API: objects, their versions and a log of changes, as etcd is to a real one.
//! It knows nothing of what objects mean, and does no I/O.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::status::Failure;

/// How many changes a watch may lie behind.
const LOG_LEN: usize = 10_000;

/// What kinds of objects there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    Pod,
    Autoscaler,
    ScaledObject,
}

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::Deployment, Self::StatefulSet, Self::Pod, Self::Autoscaler, Self::ScaledObject];

    /// Those that have replicas and a scale.
    pub(super) const WORKLOADS: [Self; 2] = [Self::Deployment, Self::StatefulSet];

    pub(super) fn is_workload(self) -> bool {
        Self::WORKLOADS.contains(&self)
    }

    /// May clients make and delete it? (Pods are the controller's.)
    pub(super) fn is_made_by_clients(self) -> bool {
        self.is_workload() || self == Self::Autoscaler
    }

    /// API group; empty for the core.
    pub(super) fn group(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet => "apps",
            Self::Pod => "",
            Self::Autoscaler => "autoscaling",
            Self::ScaledObject => "keda.sh",
        }
    }

    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::Pod => "v1",
            Self::Autoscaler => "v2",
            Self::ScaledObject => "v1alpha1",
        }
    }

    /// `apps/v1`, `v1`.
    pub(super) fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::Pod => "Pod",
            Self::Autoscaler => "HorizontalPodAutoscaler",
            Self::ScaledObject => "ScaledObject",
        }
    }

    /// The plural in paths.
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::Pod => "pods",
            Self::Autoscaler => "horizontalpodautoscalers",
            Self::ScaledObject => "scaledobjects",
        }
    }

    /// `deployments.apps`, as messages name it.
    pub(super) fn qualified(self) -> String {
        match self.group() {
            "" => self.resource().to_owned(),
            group => format!("{}.{group}", self.resource()),
        }
    }
}

/// One change, as a watch reports it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) event: &'static str,
    pub(super) kind: Kind,
    pub(super) object: Value,
}

/// All objects, in order of kind, namespace and name.
pub(super) struct Store {
    revision: u64,
    objects: BTreeMap<(Kind, String, String), Value>,
    log: VecDeque<Change>,
    /// Changes up to this one are no longer in the log.
    forgotten: u64,
    /// Makes the uids of two stores differ.
    seed: i128,
}

impl Store {
    pub(super) fn new() -> Self {
        // A real cluster's versions do not begin at 1 either; nobody should lean on it.
        let revision = 1000;
        let seed = Timestamp::now().as_nanosecond();
        Self { revision, objects: BTreeMap::new(), log: VecDeque::new(), forgotten: revision, seed }
    }

    /// The version of the latest change.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<&Value, Failure> {
        self.objects.get(&(kind, namespace.to_owned(), name.to_owned())).ok_or_else(|| Failure::not_found(kind, name))
    }

    pub(super) fn list(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |(key, _)| key.0 == kind).map(|(_, object)| object)
    }

    /// Makes an object: gives it uid, version and age.
    pub(super) fn create(&mut self, kind: Kind, mut object: Value) -> Result<Value, Failure> {
        let key = key(kind, &object);
        if self.objects.contains_key(&key) {
            return Err(Failure::already_exists(kind, &key.2));
        }
        self.revision += 1;
        let now = second(Timestamp::now());
        object["metadata"]["uid"] = self.uid().into();
        object["metadata"]["creationTimestamp"] = now.into();
        object["metadata"]["generation"] = 1.into();
        self.keep(key, "ADDED", object)
    }

    /// Puts a new version in the place of the object of the same name.
    pub(super) fn replace(&mut self, kind: Kind, object: Value) -> Result<Value, Failure> {
        let key = key(kind, &object);
        self.get(kind, &key.1, &key.2)?;
        self.revision += 1;
        self.keep(key, "MODIFIED", object)
    }

    pub(super) fn remove(&mut self, kind: Kind, namespace: &str, name: &str) -> Result<Value, Failure> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let mut object = self.objects.remove(&key).ok_or_else(|| Failure::not_found(kind, name))?;
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.record("DELETED", kind, object.clone());
        Ok(object)
    }

    /// The changes after `revision`, or that they are forgotten.
    pub(super) fn since(&self, revision: u64) -> Result<impl Iterator<Item = &Change>, Failure> {
        if revision < self.forgotten {
            return Err(Failure::expired(revision, self.forgotten));
        }
        Ok(self.log.iter().filter(move |change| change.revision > revision))
    }

    fn keep(&mut self, key: (Kind, String, String), event: &'static str, mut object: Value) -> Result<Value, Failure> {
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.record(event, key.0, object.clone());
        self.objects.insert(key, object.clone());
        Ok(object)
    }

    fn record(&mut self, event: &'static str, kind: Kind, object: Value) {
        self.log.push_back(Change { revision: self.revision, event, kind, object });
        if self.log.len() > LOG_LEN
            && let Some(oldest) = self.log.pop_front()
        {
            self.forgotten = oldest.revision;
        }
    }

    /// A uid of the usual form that no other object has.
    fn uid(&self) -> String {
        let digest = Sha256::digest(format!("{}/{}", self.seed, self.revision));
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }
}

fn key(kind: Kind, object: &Value) -> (Kind, String, String) {
    (kind, text(object, "namespace").to_owned(), text(object, "name").to_owned())
}

/// A field of the metadata; empty if it is not there.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// The API writes whole seconds.
pub(super) fn second(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// Which objects a list or watch means: a namespace, a name, labels. Nothing else is simulated.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    /// Labels that must have these values.
    pub(super) labels: Vec<(String, String)>,
}

impl Selector {
    pub(super) fn parse(namespace: Option<&str>, fields: &str, labels: &str) -> Result<Self, Failure> {
        let mut selector = Self { namespace: namespace.map(str::to_owned), ..Self::default() };
        for (field, value) in equalities(fields)? {
            match field.as_str() {
                "metadata.name" => selector.name = Some(value),
                "metadata.namespace" => selector.namespace = Some(value),
                _ => return Err(Failure::bad_request(format!("field label not supported: {field}"))),
            }
        }
        selector.labels = equalities(labels)?;
        Ok(selector)
    }

    pub(super) fn takes(&self, object: &Value) -> bool {
        let is = |wanted: &Option<String>, field| wanted.as_deref().is_none_or(|wanted| wanted == text(object, field));
        is(&self.namespace, "namespace")
            && is(&self.name, "name")
            && self.labels.iter().all(|(label, value)| object["metadata"]["labels"][label] == json!(value))
    }
}

/// `a=b,c==d`.
fn equalities(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| match part.split_once('=') {
            Some((name, value)) if !name.is_empty() && !name.contains(['!', ' ']) => {
                Ok((name.to_owned(), value.strip_prefix('=').unwrap_or(value).to_owned()))
            }
            _ => Err(Failure::bad_request(format!("unable to parse requirement: {part:?} (only = is simulated)"))),
        })
        .collect()
}
