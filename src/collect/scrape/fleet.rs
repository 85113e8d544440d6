//! The jobs of the services that are ours now: started, ended, and kept over a new spec where nothing of theirs has
//! changed. What a scrape finds goes out from here. Led by [`super::member`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::fetch::Address;
use super::health::Health;
use super::job::{Definition, Job, Scraped};
use super::publish::{Outgoing, Outlet};
use crate::model::ServiceId;
use crate::model::network::Networks;
use crate::model::spec::Spec;
use crate::telemetry::clock::now_ms;
use crate::telemetry::collector::{CollectorMetrics, TargetMoved};

/// Pages that are asked for at the same time: a target that hangs holds one for as long as a scrape may take.
const AT_ONCE: usize = 512;

/// What all jobs share.
struct Shared {
    networks: Arc<Networks>,
    outlet: Outlet,
    metrics: Arc<CollectorMetrics>,
    permits: Semaphore,
    instance: String,
    began: Instant,
}

/// One service; the health is gone when it is not ours any more, and what a scrape still finds then is not told.
struct Running {
    spec: Arc<Spec>,
    health: Arc<Mutex<Option<Health>>>,
    jobs: Vec<(Definition, Task)>,
}

/// Ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// See the module.
pub struct Fleet {
    shared: Arc<Shared>,
    runtime: Handle,
    running: BTreeMap<ServiceId, Running>,
}

impl Fleet {
    /// Nothing runs yet.
    pub fn new(
        networks: Networks,
        outlet: Outlet,
        metrics: Arc<CollectorMetrics>,
        instance: &str,
        runtime: Handle,
    ) -> Self {
        let shared = Shared {
            networks: Arc::new(networks),
            outlet,
            metrics,
            permits: Semaphore::new(AT_ONCE),
            instance: instance.to_owned(),
            began: Instant::now(),
        };
        Self { shared: Arc::new(shared), runtime, running: BTreeMap::new() }
    }

    /// Scrapes the targets of these services, by these specs, and of no others.
    pub fn set<'a>(&mut self, wanted: impl Iterator<Item = &'a Arc<Spec>>) {
        let mut kept = BTreeSet::new();
        for spec in wanted {
            kept.insert(spec.id.clone());
            if self.running.get(&spec.id).is_none_or(|running| running.spec.hash != spec.hash) {
                self.run(spec);
            }
        }
        let gone: Vec<_> = self.running.keys().filter(|id| !kept.contains(*id)).cloned().collect();
        gone.iter().for_each(|id| self.end(id));
    }

    /// A service is not registered any more. If it is ours, that its targets are gone is told.
    pub fn unregister(&mut self, id: &ServiceId) {
        if self.running.contains_key(id) {
            self.end(id);
            self.shared.outlet.send(Outgoing::NoTargets(id.clone()));
        }
    }

    /// Ends all jobs.
    pub fn clear(&mut self) {
        let all: Vec<_> = self.running.keys().cloned().collect();
        all.iter().for_each(|id| self.end(id));
    }

    fn end(&mut self, id: &ServiceId) {
        let Some(running) = self.running.remove(id) else { return };
        if let Some(health) = running.health.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let (up, down) = health.counts();
            self.shared.metrics.moved(-up, -down);
        }
    }

    /// Begins to scrape a service, or goes on by another spec.
    fn run(&mut self, spec: &Arc<Spec>) {
        let definitions = Definition::of(spec);
        if definitions.is_empty() {
            return self.unregister(&spec.id);
        }
        let shown = |url: &str| Address::new(url).map_or_else(|_| String::new(), |address| address.shown());
        let (health, mut before) = match self.running.remove(&spec.id) {
            Some(Running { health, jobs, .. }) => (health, jobs),
            None => (Arc::new(Mutex::new(Some(Health::new(spec, &self.shared.instance, shown)))), Vec::new()),
        };
        if let Some(health) = health.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let was = if before.is_empty() { (0, 0) } else { health.counts() };
            health.take_spec(spec, shown);
            let is = health.counts();
            self.shared.metrics.moved(is.0 - was.0, is.1 - was.1);
            tell(&self.shared, health);
        }
        let mut jobs = Vec::new();
        for definition in definitions {
            let same = before.iter().position(|(old, _)| *old == definition);
            jobs.push(match same {
                Some(place) => before.swap_remove(place),
                None => {
                    let work = work(self.shared.clone(), spec.id.clone(), health.clone(), definition.clone());
                    (definition, Task(self.runtime.spawn(work)))
                }
            });
        }
        self.running.insert(spec.id.clone(), Running { spec: spec.clone(), health, jobs });
    }
}

/// One job, until it is aborted.
async fn work(shared: Arc<Shared>, service: ServiceId, health: Arc<Mutex<Option<Health>>>, definition: Definition) {
    let mut job = Job::new(definition);
    tokio::time::sleep(job.delay(service.as_str())).await;
    let mut is_first = true;
    loop {
        let scraped = {
            // Never closed.
            let _permit = shared.permits.acquire().await;
            job.scrape(&shared.networks).await
        };
        match health.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(health) => report(&shared, &service, health, job.definition(), &scraped),
            None => return,
        }
        tokio::time::sleep(job.pause(service.as_str(), is_first)).await;
        is_first = false;
    }
}

/// What a scrape found goes out: readings, health, changes.
fn report(shared: &Shared, service: &ServiceId, health: &mut Health, job: &Definition, scraped: &Scraped) {
    let outcome =
        |result: &Result<_, super::down::Down>| result.as_ref().map_or_else(|down| down.kind.name(), |_| "up");
    shared.metrics.scraped(scraped.took, scraped.results.iter().map(outcome));
    for (sensor, result) in job.sensors.iter().zip(&scraped.results) {
        if let Ok(Some(taken)) = result {
            let (service, sensor) = (service.clone(), sensor.name.clone());
            shared.outlet.send(Outgoing::Reading { service, sensor, ts: taken.ts, value: taken.value });
        }
    }
    let was = health.counts();
    for change in health.update(job, scraped) {
        TargetMoved { service, target: &change.target }.emit();
    }
    let is = health.counts();
    shared.metrics.moved(is.0 - was.0, is.1 - was.1);
    if let Some((sensor, value)) = health.up() {
        let (service, sensor) = (service.clone(), sensor.into());
        shared.outlet.send(Outgoing::Reading { service, sensor, ts: scraped.at, value });
    }
    tell(shared, health);
}

fn tell(shared: &Shared, health: &mut Health) {
    if let Some(told) = health.news(shared.began.elapsed(), now_ms()) {
        shared.outlet.send(Outgoing::Health(told));
    }
}
