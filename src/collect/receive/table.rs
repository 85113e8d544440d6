//! The table from label sets to where their samples go, asked for every series of every request: a name is looked up in
//! the catalog once, not a hundred thousand times a second. Written and read under one lock, by a request that is decoded.
//!
//! Bounded: of two generations the older is forgotten when the younger is full; what is asked for moves to the younger.
//! When the catalog changes, each entry is looked up anew when it is next asked for.

use std::sync::{Arc, Mutex};

use hashbrown::HashMap;

use super::mapping::{Labels, Mapping, NAME, Take};
use crate::codec::reading::{Frame, MAX_VALUE_LENGTH};
use crate::model::ServiceId;
use crate::sdk::Catalog;
use crate::web::Problem;

/// The most labels of a series.
const MAX_LABELS: usize = 256;
/// The longest label set, bytes.
const MAX_LENGTH: usize = 64 * 1024;
/// Of a generation: entries, and the bytes of their label sets.
const GENERATION: (usize, usize) = (200_000, 64 * 1024 * 1024);

/// The last sample of a counter that is acknowledged: time (ms) and number.
pub type Last = Arc<Mutex<Option<(i64, f64)>>>;

/// What becomes of the samples of a label set.
#[derive(Debug)]
pub struct Route {
    /// None: nobody has asked for them.
    pub way: Option<Way>,
    /// By which catalog.
    version: u64,
}

/// Where they go.
#[derive(Debug)]
pub struct Way {
    /// The service: the key of its readings.
    pub service: ServiceId,
    /// Its home.
    pub partition: i32,
    /// Its readings but for time and value.
    pub frame: Frame,
    /// If the rate is taken.
    pub last: Option<Last>,
}

/// See the module.
pub struct Table {
    mapping: Mapping,
    partitions: i32,
    catalog: Arc<Catalog>,
    version: u64,
    young: Generation,
    old: Generation,
    /// The label set that is asked for, as a key.
    key: Vec<u8>,
}

#[derive(Default)]
struct Generation {
    routes: HashMap<Box<[u8]>, Arc<Route>>,
    bytes: usize,
}

impl Table {
    /// An empty one.
    pub fn new(mapping: Mapping, partitions: i32, catalog: Arc<Catalog>) -> Self {
        let (young, old) = (Generation::default(), Generation::default());
        Self { mapping, partitions, catalog, version: 0, young, old, key: Vec::new() }
    }

    /// From now on this is the catalog.
    pub fn follow(&mut self, catalog: Arc<Catalog>) {
        if !Arc::ptr_eq(&self.catalog, &catalog) {
            self.catalog = catalog;
            self.version += 1;
        }
    }

    /// How long the label set was that was asked for last, bytes.
    pub fn asked(&self) -> usize {
        self.key.len()
    }

    /// Where the samples of a label set go. The metric's name is the label [`NAME`].
    ///
    /// # Errors
    /// Too many labels, one of them twice or no text, or no name.
    pub fn route<'l, L>(&mut self, labels: L) -> Result<Arc<Route>, Problem>
    where
        L: Iterator<Item = (&'l [u8], &'l [u8])> + Clone,
    {
        self.key.clear();
        let mut count = 0;
        for (name, value) in labels.clone() {
            for part in [name, value] {
                // Longer than a u32 no body is.
                self.key.extend_from_slice(&(part.len() as u32).to_le_bytes());
                self.key.extend_from_slice(part);
            }
            count += 1;
            if count > MAX_LABELS || self.key.len() > MAX_LENGTH {
                return Err(Problem::bad_request(format!(
                    "a series may have {MAX_LABELS} labels of {MAX_LENGTH} bytes together"
                )));
            }
        }
        if let Some(route) = self.young.routes.get(&*self.key)
            && route.version == self.version
        {
            return Ok(route.clone());
        }
        let known = self.young.routes.get(&*self.key).or_else(|| self.old.routes.get(&*self.key)).cloned();
        let route = match known {
            Some(route) if route.version == self.version => route,
            known => Arc::new(self.look_up(labels, known.as_deref())?),
        };
        self.keep(route.clone());
        Ok(route)
    }

    fn look_up<'l>(
        &self,
        labels: impl Iterator<Item = (&'l [u8], &'l [u8])>,
        before: Option<&Route>,
    ) -> Result<Route, Problem> {
        let text =
            |bytes: &'l [u8]| std::str::from_utf8(bytes).map_err(|_| Problem::bad_request("a label is not UTF-8"));
        let labels = labels.map(|(name, value)| Ok((text(name)?, text(value)?)));
        let labels: Vec<(&str, &str)> = labels.collect::<Result<_, Problem>>()?;
        let mut names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Problem::bad_request(format!("a series has the label {:?} twice", pair[0])));
        }
        let metric = labels.iter().find(|(name, _)| *name == NAME).map(|(_, value)| *value);
        let metric = metric.ok_or_else(|| Problem::bad_request(format!("a series has no label {NAME}")))?;
        let last = before.and_then(|route| route.way.as_ref()).and_then(|way| way.last.clone());
        Ok(Route { way: self.way(metric, &labels, last), version: self.version })
    }

    fn way(&self, metric: &str, labels: &Labels<'_>, last: Option<Last>) -> Option<Way> {
        let target = self.mapping.target(metric, labels, &self.catalog)?;
        let frame = Frame::new(target.service.as_str(), &target.sensor, &target.attributes);
        if frame.longest() > MAX_VALUE_LENGTH {
            tracing::warn!(service = %target.service, sensor = target.sensor, "a series has attributes that are too long");
            return None;
        }
        Some(Way {
            partition: target.service.home(self.partitions),
            frame,
            last: (target.take == Take::Rate).then(|| last.unwrap_or_default()),
            service: target.service,
        })
    }

    fn keep(&mut self, route: Arc<Route>) {
        let (most, longest) = GENERATION;
        if self.young.routes.len() >= most || self.young.bytes + self.key.len() > longest {
            self.old = std::mem::take(&mut self.young);
        }
        if self.young.routes.insert(self.key.as_slice().into(), route).is_none() {
            self.young.bytes += self.key.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "id: prometheus\nowner: o\nsensors:\n  - name: up\n";

    fn table(mapping: &str) -> Table {
        Table::new(toml::from_str(mapping).unwrap(), 4, Arc::new(Catalog::of_texts(&[SPEC])))
    }

    fn route(table: &mut Table, labels: &[(&str, &str)]) -> Result<Arc<Route>, Problem> {
        table.route(labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    const UP: [(&str, &str); 2] = [(NAME, "up"), ("job", "prometheus")];

    #[test]
    fn a_label_set_is_looked_up_once_and_again_when_the_catalog_has_changed() {
        let mut table = table("");
        let first = route(&mut table, &UP).unwrap();
        assert_eq!(first.way.as_ref().unwrap().service.as_str(), "prometheus");
        assert!(Arc::ptr_eq(&first, &route(&mut table, &UP).unwrap()));
        assert!(route(&mut table, &[(NAME, "up"), ("job", "other")]).unwrap().way.is_none());
        table.follow(Arc::new(Catalog::default()));
        assert!(route(&mut table, &UP).unwrap().way.is_none(), "retired");
        table.follow(Arc::new(Catalog::of_texts(&[SPEC])));
        assert!(route(&mut table, &UP).unwrap().way.is_some());
    }

    #[test]
    fn a_counter_keeps_its_last_sample_over_a_new_catalog() {
        let mut table = table("[[map]]\nmetric = \"up\"\ntake = \"rate\"\n");
        let last = |route: &Arc<Route>| route.way.as_ref().unwrap().last.clone().unwrap();
        let before = last(&route(&mut table, &UP).unwrap());
        *before.lock().unwrap() = Some((1, 2.0));
        table.follow(Arc::new(Catalog::of_texts(&[SPEC])));
        let after = last(&route(&mut table, &UP).unwrap());
        assert_eq!(*after.lock().unwrap(), Some((1, 2.0)));
    }

    #[test]
    fn label_sets_that_cannot_be_meant_are_refused() {
        let mut table = table("");
        let many: Vec<_> = (0..10_000).map(|number| (format!("l{number}"), "x".to_owned())).collect();
        let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let long = "x".repeat(MAX_LENGTH);
        for labels in [&many[..], &[(NAME, &long)], &[("job", "x")], &[(NAME, "up"), ("a", "1"), ("a", "2")], &[]] {
            assert_eq!(route(&mut table, labels).unwrap_err().status().as_u16(), 400);
        }
        let bytes: [(&[u8], &[u8]); 2] = [(NAME.as_bytes(), b"up"), (b"job", &[0xff])];
        assert_eq!(table.route(bytes.into_iter()).unwrap_err().status().as_u16(), 400);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_asked_for_stays() {
        let mut table = table("");
        let first = route(&mut table, &UP).unwrap();
        for number in 0..2 * GENERATION.0 {
            route(&mut table, &[(NAME, &number.to_string())]).unwrap();
            if number % 50_000 == 0 {
                assert!(Arc::ptr_eq(&first, &route(&mut table, &UP).unwrap()), "it was asked for all the time");
            }
        }
        assert!(table.young.routes.len() <= GENERATION.0 && table.old.routes.len() <= GENERATION.0);
    }
}
