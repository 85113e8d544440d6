//! What makes pods follow replicas: controllers of Deployments and StatefulSets, scheduler, kubelet and garbage collector in one.
//! One pass looks at everything and says when the next pod becomes ready.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::objects;
use super::store::{Kind, Store, second, text};

/// The pods that are not ready yet, by uid, and how long one takes.
pub(super) struct Controller {
    ready_after: Duration,
    starting: BTreeMap<String, Instant>,
    /// Numbers the pods that were made.
    made: u32,
}

impl Controller {
    /// Pods become ready `ready_after` after they were made.
    pub(super) fn new(ready_after: Duration) -> Self {
        Self { ready_after, starting: BTreeMap::new(), made: 0 }
    }

    /// Brings the pods and the statuses in line with the workloads; returns when to look again.
    pub(super) fn pass(&mut self, store: &mut Store, now: Instant) -> Option<Instant> {
        let workloads: Vec<(Kind, Value)> = Kind::WORKLOADS
            .into_iter()
            .flat_map(|kind| store.list(kind).map(move |workload| (kind, workload.clone())))
            .collect();
        let mut pods: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for pod in store.list(Kind::Pod) {
            let owner = pod["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default();
            pods.entry(owner.to_owned()).or_default().push(pod.clone());
        }
        for (kind, workload) in &workloads {
            let mine = pods.remove(text(workload, "uid")).unwrap_or_default();
            self.align(store, (*kind, workload), mine, now);
        }
        // Whose workload is gone, goes too.
        for orphan in pods.values().flatten() {
            self.stop(store, orphan);
        }
        self.starting.values().min().copied()
    }

    fn align(&mut self, store: &mut Store, (kind, workload): (Kind, &Value), mut pods: Vec<Value>, now: Instant) {
        let wanted = workload["spec"]["replicas"].as_u64().unwrap_or(0) as usize;
        for pod in &mut pods {
            let due = self.starting.get(text(pod, "uid")).is_some_and(|due| *due <= now);
            if due {
                self.starting.remove(text(pod, "uid"));
                pod["status"] = objects::ready(workload, &pod["status"]["startTime"], &second(Timestamp::now()));
                replace(store, Kind::Pod, pod);
            }
        }
        while pods.len() < wanted {
            match self.start(store, workload, now) {
                Some(pod) => pods.push(pod),
                None => break,
            }
        }
        // Those that are not ready go first, then the newest, as in a ReplicaSet.
        pods.sort_by_key(|pod| (!objects::is_ready(pod), version(pod)));
        for surplus in pods.split_off(wanted.min(pods.len())) {
            self.stop(store, &surplus);
        }
        let ready = pods.iter().filter(|pod| objects::is_ready(pod)).count();
        let (pods, ready) = (pods.len() as u64, ready as u64);
        let status = match kind {
            Kind::StatefulSet => objects::stateful_set_status(workload, pods, ready),
            _ => objects::deployment_status(workload, pods, ready, &second(Timestamp::now())),
        };
        if status != workload["status"] {
            let mut workload = workload.clone();
            workload["status"] = status;
            replace(store, kind, &mut workload);
        }
    }

    fn start(&mut self, store: &mut Store, workload: &Value, now: Instant) -> Option<Value> {
        self.made += 1;
        let name = format!("{}-{:05x}", text(workload, "name"), self.made);
        let pod = objects::pod(workload, &name, &second(Timestamp::now()));
        // A pod that someone made by this name stays; the next pass takes the next number.
        let pod = store.create(Kind::Pod, pod).ok()?;
        self.starting.insert(text(&pod, "uid").to_owned(), now + self.ready_after);
        Some(pod)
    }

    fn stop(&mut self, store: &mut Store, pod: &Value) {
        self.starting.remove(text(pod, "uid"));
        // Only what was just listed is stopped; there is nothing else to learn from the answer.
        let _ = store.remove(Kind::Pod, text(pod, "namespace"), text(pod, "name"));
    }
}

fn replace(store: &mut Store, kind: Kind, object: &mut Value) {
    if let Ok(written) = store.replace(kind, object.clone()) {
        *object = written;
    }
}

/// A newer pod was made later; among those that are ready the order of becoming so is as good.
fn version(pod: &Value) -> u64 {
    text(pod, "resourceVersion").parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::world::updates::{Author, Cluster};
    use serde_json::json;

    const AFTER: Duration = Duration::from_secs(1);

    fn status(cluster: &Cluster) -> (u64, u64) {
        let deployment = cluster.store.get(Kind::Deployment, "default", "scanner").unwrap();
        let count = |field: &str| deployment["status"][field].as_u64().unwrap_or(0);
        (count("replicas"), count("readyReplicas"))
    }

    #[test]
    fn pods_follow_replicas_and_are_ready_after_their_time() {
        let mut cluster = Cluster { store: Store::new(), writes: Vec::new() };
        cluster.store.create(Kind::Deployment, objects::deployment("default", "scanner", 2)).unwrap();
        let (mut controller, start) = (Controller::new(AFTER), Instant::now());
        assert_eq!(controller.pass(&mut cluster.store, start), Some(start + AFTER));
        assert_eq!(status(&cluster), (2, 0));
        assert_eq!(controller.pass(&mut cluster.store, start + AFTER), None);
        assert_eq!(status(&cluster), (2, 2));

        let author = Author { user_agent: "test", dry_run: false };
        let scale = |replicas| json!({"spec": {"replicas": replicas}});
        cluster.update_scale(Kind::Deployment, "default", "scanner", &scale(3), &author).unwrap();
        controller.pass(&mut cluster.store, start + AFTER);
        assert_eq!(status(&cluster), (3, 2));
        // The one that is not ready goes first.
        cluster.update_scale(Kind::Deployment, "default", "scanner", &scale(2), &author).unwrap();
        assert_eq!(controller.pass(&mut cluster.store, start + AFTER), None);
        assert_eq!(status(&cluster), (2, 2));
    }

    #[test]
    fn a_status_moves_the_version_and_not_the_generation_and_a_settled_world_is_left_alone() {
        let mut store = Store::new();
        let made = store.create(Kind::Deployment, objects::deployment("default", "scanner", 1)).unwrap();
        let (mut controller, start) = (Controller::new(AFTER), Instant::now());
        controller.pass(&mut store, start);
        controller.pass(&mut store, start + AFTER);
        let settled = store.get(Kind::Deployment, "default", "scanner").unwrap().clone();
        assert_eq!(settled["metadata"]["generation"], made["metadata"]["generation"]);
        assert_ne!(text(&settled, "resourceVersion"), text(&made, "resourceVersion"));
        let revision = store.revision();
        controller.pass(&mut store, start + 2 * AFTER);
        assert_eq!(store.revision(), revision);
    }

    #[test]
    fn pods_of_a_deleted_deployment_go() {
        let mut store = Store::new();
        store.create(Kind::Deployment, objects::deployment("default", "scanner", 2)).unwrap();
        let (mut controller, start) = (Controller::new(AFTER), Instant::now());
        controller.pass(&mut store, start);
        store.remove(Kind::Deployment, "default", "scanner").unwrap();
        assert_eq!(controller.pass(&mut store, start), None);
        assert_eq!(store.list(Kind::Pod).count(), 0);
    }
}
