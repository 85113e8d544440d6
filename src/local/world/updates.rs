//! The rules of a write to the simulated API: preconditions, what a write may change, what counts as a change.
//! All writes, by HTTP and by hand, pass here; every one that changes the replicas is kept for the tests.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::objects;
use super::status::Failure;
use super::store::{Kind, Store, text};

/// One write that changed the replicas that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// When, ms since the epoch by the host's clock.
    pub at_ms: i64,
    /// Namespace of the workload.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// Who: the `User-Agent` of the request, or `by hand`.
    pub user_agent: String,
}

/// Who writes, and whether for good.
pub(super) struct Author<'a> {
    pub(super) user_agent: &'a str,
    pub(super) dry_run: bool,
}

/// The objects and the writes that changed their replicas.
pub(super) struct Cluster {
    pub(super) store: Store,
    pub(super) writes: Vec<Write>,
}

impl Cluster {
    /// Puts `new` in the place of the workload. If `new` names a uid or a version, they must be the current ones.
    pub(super) fn update(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        mut new: Value,
        author: &Author,
    ) -> Result<Value, Failure> {
        let current = self.store.get(kind, namespace, name)?.clone();
        check_name(namespace, name, &new)?;
        check_preconditions(kind, &current, &new)?;
        for fixed in ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"] {
            new["metadata"][fixed] = current["metadata"][fixed].clone();
        }
        new["apiVersion"] = current["apiVersion"].clone();
        new["kind"] = current["kind"].clone();
        new["status"] = current["status"].clone();
        if new["spec"]["replicas"].is_null() && new["spec"].is_object() {
            new["spec"]["replicas"] = 1.into();
        }
        let to = replicas_of(kind, name, &new)?;
        if new["spec"]["selector"] != current["spec"]["selector"] {
            return Err(Failure::invalid(kind, name, "spec.selector: Invalid value: field is immutable"));
        }
        if new == current {
            // As in a real API server: no new version without a change.
            return Ok(current);
        }
        // A Deployment hands its annotations on to its ReplicaSets, so they count as part of what it asks for.
        let annotations = "/metadata/annotations";
        let noted = kind == Kind::Deployment && new.pointer(annotations) != current.pointer(annotations);
        if new["spec"] != current["spec"] || noted {
            let generation = current["metadata"]["generation"].as_i64().unwrap_or(0);
            new["metadata"]["generation"] = (generation + 1).into();
        }
        if author.dry_run {
            return Ok(new);
        }
        let from = replicas_of(kind, name, &current)?;
        let written = self.store.replace(kind, new)?;
        if from != to {
            self.writes.push(Write {
                at_ms: Timestamp::now().as_millisecond(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                from,
                to,
                user_agent: author.user_agent.to_owned(),
            });
        }
        Ok(written)
    }

    /// The same through the scale subresource: only `spec.replicas` counts, absent means 0.
    pub(super) fn update_scale(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        scale: &Value,
        author: &Author,
    ) -> Result<Value, Failure> {
        let mut new = self.store.get(kind, namespace, name)?.clone();
        check_name(namespace, name, scale)?;
        let replicas = &scale["spec"]["replicas"];
        new["spec"]["replicas"] = if replicas.is_null() { json!(0) } else { replicas.clone() };
        for precondition in ["uid", "resourceVersion"] {
            new["metadata"][precondition] = scale["metadata"][precondition].clone();
        }
        self.update(kind, namespace, name, new, author).map(|workload| objects::scale(&workload))
    }

    /// Makes an object of what a client posted.
    pub(super) fn create(
        &mut self,
        kind: Kind,
        namespace: &str,
        mut new: Value,
        author: &Author,
    ) -> Result<Value, Failure> {
        let name = text(&new, "name").to_owned();
        if name.is_empty() {
            return Err(Failure::invalid(kind, "", "metadata.name: Required value: name is required"));
        }
        check_name(namespace, &name, &new)?;
        new["metadata"]["namespace"] = namespace.into();
        new["apiVersion"] = kind.api_version().into();
        new["kind"] = kind.kind().into();
        if kind.is_workload() {
            if new["spec"]["replicas"].is_null() && new["spec"].is_object() {
                new["spec"]["replicas"] = 1.into();
            }
            new["status"] = json!({});
            replicas_of(kind, &name, &new)?;
        }
        if author.dry_run { Ok(new) } else { self.store.create(kind, new) }
    }

    /// Deletes an object, if it is the one that the options name; answers with the `Status` of success.
    pub(super) fn delete(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        options: &Value,
        author: &Author,
    ) -> Result<Value, Failure> {
        let current = self.store.get(kind, namespace, name)?.clone();
        check_preconditions(kind, &current, &json!({"metadata": options["preconditions"]}))?;
        if !author.dry_run {
            self.store.remove(kind, namespace, name)?;
        }
        let (group, kind) = (kind.group(), kind.resource());
        let details = json!({"name": name, "group": group, "kind": kind, "uid": current["metadata"]["uid"]});
        Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}))
    }
}

/// RFC 7386: objects merge, null removes, everything else replaces.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            if let Some(object) = target.as_object_mut() {
                object.remove(name);
            }
        } else {
            merge(&mut target[name], value);
        }
    }
}

/// A strategic merge patch equals a plain one unless it holds lists or directives, which merge by key.
pub(super) fn is_plain(patch: &Value) -> bool {
    match patch {
        Value::Array(_) => false,
        Value::Object(fields) => fields.iter().all(|(name, value)| !name.starts_with('$') && is_plain(value)),
        _ => true,
    }
}

/// A body may leave out name and namespace; it may not name others than the path.
fn check_name(namespace: &str, name: &str, body: &Value) -> Result<(), Failure> {
    for (field, expected) in [("name", name), ("namespace", namespace)] {
        let said = text(body, field);
        if !said.is_empty() && said != expected {
            return Err(Failure::bad_request(format!(
                "the {field} of the object ({said}) does not match the {field} on the URL ({expected})"
            )));
        }
    }
    Ok(())
}

fn check_preconditions(kind: Kind, current: &Value, new: &Value) -> Result<(), Failure> {
    let name = text(current, "name");
    let (uid, version) = (text(new, "uid"), text(new, "resourceVersion"));
    if !uid.is_empty() && uid != text(current, "uid") {
        return Err(Failure::other_uid(kind, name, uid, text(current, "uid")));
    }
    if !version.is_empty() && version != text(current, "resourceVersion") {
        return Err(Failure::modified(kind, name));
    }
    Ok(())
}

/// The replicas that a workload asks for, if it is one.
fn replicas_of(kind: Kind, name: &str, workload: &Value) -> Result<u32, Failure> {
    // The typed form refuses what a real API server could not decode.
    let typed = match kind {
        Kind::StatefulSet => replicas::<StatefulSet>(workload, |typed| typed.spec.replicas),
        _ => replicas::<Deployment>(workload, |typed| typed.spec.replicas),
    };
    let replicas = typed.map_err(|error| {
        let kind = kind.kind();
        Failure::bad_request(format!("{kind} in version \"v1\" cannot be handled as a {kind}: {error}"))
    })?;
    u32::try_from(replicas).map_err(|_| {
        let why = format!("spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0");
        Failure::invalid(kind, name, &why)
    })
}

fn replicas<T: DeserializeOwned>(workload: &Value, of: fn(T) -> Option<i32>) -> Result<i32, serde_json::Error> {
    serde_json::from_value(workload.clone()).map(|typed| of(typed).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Author = Author { user_agent: "test", dry_run: false };

    fn cluster() -> Cluster {
        let mut cluster = Cluster { store: Store::new(), writes: Vec::new() };
        cluster.store.create(Kind::Deployment, objects::deployment("default", "scanner", 2)).unwrap();
        cluster
    }

    fn now(cluster: &Cluster) -> Value {
        cluster.store.get(Kind::Deployment, "default", "scanner").unwrap().clone()
    }

    fn scale(cluster: &mut Cluster, body: Value) -> Result<Value, Failure> {
        cluster.update_scale(Kind::Deployment, "default", "scanner", &body, &ME)
    }

    #[test]
    fn a_change_of_spec_moves_generation_and_version_and_a_repeat_moves_nothing() {
        let mut cluster = cluster();
        let before = now(&cluster);
        scale(&mut cluster, json!({"spec": {"replicas": 4}})).unwrap();
        let after = now(&cluster);
        assert_eq!(after["metadata"]["generation"], 2);
        assert_ne!(text(&after, "resourceVersion"), text(&before, "resourceVersion"));
        assert_eq!(text(&after, "uid"), text(&before, "uid"));
        scale(&mut cluster, json!({"spec": {"replicas": 4}})).unwrap();
        assert_eq!(now(&cluster), after);
        assert_eq!(cluster.writes.len(), 1);
        assert_eq!((cluster.writes[0].from, cluster.writes[0].to), (2, 4));
    }

    #[test]
    fn a_dry_run_and_every_refusal_leave_no_trace() {
        let mut cluster = cluster();
        let before = now(&cluster);
        let dry = Author { user_agent: "test", dry_run: true };
        let answer = cluster
            .update_scale(Kind::Deployment, "default", "scanner", &json!({"spec": {"replicas": 9}}), &dry)
            .unwrap();
        assert_eq!(answer["spec"]["replicas"], 9);
        for (body, code) in [
            (json!({"metadata": {"uid": "other"}, "spec": {"replicas": 9}}), 409),
            (json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 9}}), 409),
            (json!({"metadata": {"name": "gate"}, "spec": {"replicas": 9}}), 400),
            (json!({"spec": {"replicas": -1}}), 422),
            (json!({"spec": {"replicas": "9"}}), 400),
        ] {
            assert_eq!(scale(&mut cluster, body.clone()).unwrap_err().body()["code"], code, "{body}");
        }
        assert_eq!(now(&cluster), before);
        assert!(cluster.writes.is_empty());
    }

    #[test]
    fn another_object_of_the_same_name_has_another_uid() {
        let mut cluster = cluster();
        let uid = text(&now(&cluster), "uid").to_owned();
        cluster.store.remove(Kind::Deployment, "default", "scanner").unwrap();
        assert_eq!(scale(&mut cluster, json!({"spec": {"replicas": 4}})).unwrap_err().body()["code"], 404);
        cluster.store.create(Kind::Deployment, objects::deployment("default", "scanner", 2)).unwrap();
        assert_ne!(text(&now(&cluster), "uid"), uid);
    }

    #[test]
    fn only_the_one_that_is_meant_is_deleted() {
        let mut cluster = cluster();
        let other = json!({"preconditions": {"uid": "other"}});
        assert_eq!(
            cluster.delete(Kind::Deployment, "default", "scanner", &other, &ME).unwrap_err().body()["code"],
            409
        );
        let meant = json!({"preconditions": {"uid": text(&now(&cluster), "uid")}});
        cluster.delete(Kind::Deployment, "default", "scanner", &meant, &ME).unwrap();
        assert!(cluster.store.get(Kind::Deployment, "default", "scanner").is_err());
    }

    #[test]
    fn merge_patches_are_rfc_7386() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(&mut target, &json!({"a": {"b": null, "e": {"f": 3}}, "d": [4]}));
        assert_eq!(target, json!({"a": {"c": 2, "e": {"f": 3}}, "d": [4]}));
    }

    #[test]
    fn strategic_patches_with_lists_or_directives_are_not_taken_for_plain_ones() {
        assert!(is_plain(&json!({"spec": {"replicas": 3}})));
        assert!(!is_plain(&json!({"spec": {"template": {"spec": {"containers": [{"name": "main"}]}}}})));
        assert!(!is_plain(&json!({"spec": {"$patch": "replace"}})));
    }
}
