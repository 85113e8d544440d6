//! `ops collect`: pages become readings, hostile pages become none, what is not allowed is not asked, and the targets of
//! a collector that dies are taken over.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hms_ops::bus::{Isolation, Next, Offsets, Reader};
use hms_ops::codec;
use hms_ops::model::reading::Reading;
use hms_ops::model::target::{Beat, ServiceTargets, TargetRecord};
use hms_ops::sdk::status::{Board, TargetState, TargetStatus};

use crate::pages::{Pages, bytes_page, endless_page, status_page, text_page};
use crate::rig::cluster::PATIENCE;
use crate::rig::fleet::{Fleet, Ops, ids, kept_file, now_ms, ops};

/// `ops collect` of a fleet that may ask these networks.
pub fn collect(fleet: &Fleet, instance: &str, allow: &[&str]) -> Ops {
    let config: PathBuf = kept_file(&format!("{}{instance}.log.toml", fleet.prefix));
    std::fs::write(&config, format!("[collect]\nallow = {allow:?}\n")).unwrap();
    let mut command = ops();
    command.args(["collect", "--brokers", fleet.settings.brokers(), "--topic-prefix", &fleet.prefix]);
    command.args(["--group", &format!("{}collector", fleet.prefix), "--instance", instance, "--config"]).arg(config);
    Ops::spawn(command, kept_file(&format!("{}{instance}.log", fleet.prefix)))
}

/// Follows a topic from its beginning, until something was seen.
pub struct Follow {
    reader: Reader,
}

impl Follow {
    pub fn new(fleet: &Fleet, topic: &str) -> Self {
        let offsets = Offsets::new(&fleet.settings).unwrap();
        let starts = (0..offsets.partitions(topic).unwrap()).map(|partition| (partition, 0));
        Self { reader: Reader::open(&fleet.settings, topic, Isolation::Committed, starts).unwrap() }
    }

    /// Hands every record, key and value, to `take`, until that says that it has seen enough.
    pub fn until(&mut self, what: &str, mut take: impl FnMut(&str, Option<&[u8]>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "still waiting for {what}");
            if let Next::Record(message) = self.reader.next(Duration::from_millis(100)).unwrap()
                && take(std::str::from_utf8(message.key().unwrap()).unwrap(), message.value())
            {
                return;
            }
        }
    }
}

pub fn reading(value: Option<&[u8]>) -> Reading<'static> {
    codec::reading::decode(None, value, 1).unwrap().into_owned()
}

/// What there is on `ops.metrics`, in order of time, by service and sensor.
pub fn readings(fleet: &Fleet) -> BTreeMap<(String, String), Vec<(i64, f64)>> {
    let offsets = Offsets::new(&fleet.settings).unwrap();
    let mut reader = Reader::all(&fleet.settings, &offsets, &fleet.topics.metrics, Isolation::Committed).unwrap();
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    loop {
        match reader.next(PATIENCE).unwrap() {
            Next::Record(message) => {
                let reading = reading(message.value());
                let key = (reading.service.to_string(), reading.sensor.to_string());
                found.entry(key).or_default().push((reading.ts, reading.value));
            }
            Next::End => break,
            Next::Idle => panic!("ops.metrics has no end"),
        }
    }
    found.values_mut().for_each(|list| list.sort_by_key(|(ts, _)| *ts));
    found
}

fn health(value: Option<&[u8]>) -> Option<ServiceTargets> {
    match codec::target::decode(value?).unwrap() {
        TargetRecord::Service(targets) => Some(targets),
        TargetRecord::Collector(_) => None,
    }
}

fn targets(fleet: &Fleet, id: &str) -> Vec<TargetStatus> {
    let board = Board::open(&fleet.settings, &fleet.topics, Some(id)).unwrap();
    board.view().statuses(now_ms()).remove(0).targets
}

fn spec(id: &str, sensors: &[String]) -> String {
    format!("id: {id}\nowner: test\nsensors:\n{}", sensors.iter().map(|s| format!("  - {{{s}}}\n")).collect::<String>())
}

/// One sensor `q` of a page, once a second.
fn plain(pages: &Pages, id: &str) -> String {
    spec(id, &[format!("name: q, interval: 1, scrape_url: '{}'", pages.url(&format!("/{id}")))])
}

/// ```text
/// page --> q 5, total 100 -> 150 ..., latency, summary --> readings; another spec --> its sensor too; unregistered --> none
/// ```
#[test]
fn a_page_becomes_readings_and_changes_are_followed_at_once() {
    let (pages, fleet) = (Pages::start(), Fleet::new("collect"));
    let page = |n: u64| {
        let (n, fast) = (n * 10, n * 8);
        format!(
            "# TYPE q gauge\nq{{a=\"1\"}} 4\nq{{a=\"2\"}} 5\r\n# TYPE total counter\ntotal {n}\n# TYPE lat histogram\n\
             lat_bucket{{le=\"1\"}} {fast}\nlat_bucket{{le=\"2\"}} {n}\nlat_bucket{{le=\"+Inf\"}} {n}\nlat_count {n}\n\
             lat_sum 1\nsum{{quantile=\"0.95\"}} 0.25"
        )
    };
    let shared = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let asked = shared.clone();
    pages.set(
        "/m",
        std::sync::Arc::new(move |stream| {
            let n = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            text_page("text/plain; version=0.0.4", &page(n))(stream)
        }),
    );
    pages.set_text("/pace", "q 1\n");
    let url = pages.url("/m");
    let sensor = |name: &str, fields: &str| format!("name: {name}, interval: 1, scrape_url: '{url}', {fields}");
    let mut sensors = vec![
        sensor("value", "metric: q, match: {a: '2'}"),
        sensor("rate", "metric: total, take: rate"),
        sensor("p50", "metric: lat, take: p50"),
        sensor("p95", "metric: sum, take: quantile 0.95"),
        "name: up, interval: 1".to_owned(),
    ];
    fleet.register(&spec("svc", &sensors));
    fleet.register(&plain(&pages, "pace"));
    let collector = collect(&fleet, "c1", &["127.0.0.0/8"]);
    let mut metrics = Follow::new(&fleet, &fleet.topics.metrics);
    let mut seen: BTreeMap<String, f64> = BTreeMap::new();
    metrics.until("each sensor", |key, value| {
        if key == "svc" {
            let reading = reading(value);
            seen.insert(reading.sensor.to_string(), reading.value);
        }
        seen.len() == 5
    });
    assert_eq!((seen["value"], seen["p95"], seen["up"], seen["p50"]), (5.0, 0.25, 1.0, 0.625));
    // 10 more each time it is asked, over the time between: on a busy machine that is not quite a second.
    assert!(seen["rate"] > 0.0, "{seen:?}");
    let shown = targets(&fleet, "svc");
    assert!(shown.iter().all(|target| target.state == TargetState::Up && target.samples == 9), "{shown:?}");
    assert_eq!(shown.iter().map(|target| &*target.sensor).collect::<Vec<_>>(), ["value", "rate", "p50", "p95"]);

    sensors.push(sensor("missing", ""));
    sensors.push(sensor("other", "metric: q, match: {a: '1'}"));
    fleet.register(&spec("svc", &sensors));
    metrics.until("the new sensor", |key, value| key == "svc" && reading(value).sensor == "other");
    metrics.until("that not all are up", |key, value| {
        let reading = key.eq("svc").then(|| reading(value));
        reading.is_some_and(|reading| reading.sensor == "up" && reading.value == 0.0)
    });
    let shown = targets(&fleet, "svc");
    let missing = shown.iter().find(|target| target.sensor == "missing").unwrap();
    assert_eq!((missing.state, missing.reason.as_deref()), (TargetState::Down, Some("no sample missing")));

    fleet.unregister("svc");
    let mut told = Follow::new(&fleet, &fleet.topics.targets);
    told.until("that its targets are gone", |key, value| key == "svc" && value.is_none());
    pages.set_text("/pace", "q 1\n");
    let before = pages.hits_of("/m").len();
    pages.wait_for("/pace", 3);
    assert_eq!(pages.hits_of("/m").len(), before, "nobody asks for it any more");
    collector.stop();
}

/// A hostile page, and a word of the reason that it is down for.
fn hostile() -> Vec<(&'static str, crate::pages::Page, &'static str)> {
    let plain = |text: &str| text_page("text/plain", text);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, text).unwrap();
        bytes_page("Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", encoder.finish().unwrap())
    };
    let html = "<!DOCTYPE html><html><body>q 1</body></html>";
    let million = b"q 1\n".repeat(64 * 1024);
    vec![
        ("html", text_page("text/html", html), "text/html is no text of metrics"),
        ("disguised", plain(html), "is no sample"),
        ("slow", endless_page(head, b"q".to_vec(), Duration::from_millis(200)), "no whole answer within"),
        ("silent", endless_page("", Vec::new(), Duration::from_millis(200)), "no whole answer within"),
        ("endless", endless_page(head, million, Duration::ZERO), "larger than"),
        (
            "long",
            endless_page("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", Vec::new(), Duration::ZERO),
            "larger than",
        ),
        ("headers", endless_page("HTTP/1.1 200 OK\r\n", b"X-A: b\r\n".repeat(999), Duration::ZERO), "before the page"),
        ("bomb", gzip(&b"\n".repeat(32 << 20)), "gzip bomb"),
        ("nogzip", bytes_page("Content-Encoding: gzip\r\n", b"q 1\n".to_vec()), "no gzip"),
        ("deflate", bytes_page("Content-Encoding: deflate\r\n", b"q 1\n".to_vec()), "packed as deflate"),
        ("overflow", plain("q 1e400\n"), "larger than any number"),
        ("nan", plain("q NaN\n"), "q is NaN"),
        ("doubled", plain("q{a=\"1\"} 1\nq{a=\"1\"} 1\n"), "a doubled series"),
        ("ambiguous", plain("q{a=\"1\"} 1\nq{a=\"2\"} 1\n"), "ambiguous: 2 samples match"),
        ("timestamp", plain("q 1 99999999999999999999\n"), "is no time stamp"),
        ("future", plain("q 1 9223372036854775807\n"), "ahead of this host's clock"),
        ("cut", text_page("application/openmetrics-text; version=1.0.0", "q 1\n"), "cut off"),
        ("latin1", bytes_page("", b"q{a=\"\xe9\"} 1\n".to_vec()), "not UTF-8"),
        ("redirect", status_page(302, "Location: /good\r\n"), "redirects are not followed"),
        ("error", status_page(500, ""), "status 500"),
        ("short", std::sync::Arc::new(move |_| Ok(())), ""),
    ]
}

/// Each is down with its reason and not one reading comes of any; with a good page in its place each is up.
#[test]
fn a_hostile_page_puts_its_target_down_and_becomes_no_reading() {
    let (pages, fleet) = (Pages::start(), Fleet::new("hostile"));
    pages.set_text("/good", "q 1\n");
    pages.set_text("/pace", "q 1\r\n# no line break at the end\r\nother 2");
    let hostile = hostile();
    for (id, page, _) in &hostile {
        pages.set(&format!("/{id}"), page.clone());
        // To be found too long before it is found too slow.
        let interval = if *id == "endless" { "interval: 20" } else { "interval: 1" };
        fleet.register(&plain(&pages, id).replace("interval: 1", interval));
    }
    let broken = "h_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"+Inf\"} 5\n";
    pages.set_text("/histogram", broken);
    let url = pages.url("/histogram");
    fleet.register(&spec("histogram", &[format!("name: h, interval: 1, scrape_url: '{url}', take: p95")]));
    fleet.register(&plain(&pages, "pace"));
    let mut expected: BTreeMap<String, &str> = hostile.iter().map(|(id, _, why)| ((*id).to_owned(), *why)).collect();
    expected.insert("histogram".to_owned(), "counts less than the one below it");

    let collector = collect(&fleet, "c1", &["127.0.0.1"]);
    let mut told = Follow::new(&fleet, &fleet.topics.targets);
    let mut down = BTreeMap::new();
    told.until("all to be down", |key, value| {
        if let Some(target) = health(value).and_then(|mut health| health.targets.pop())
            && target.scraped_at.is_some()
            && key != "pace"
        {
            assert!(!target.up, "{key}: {target:?}");
            let reason = target.reason.unwrap();
            assert!(reason.contains(expected[key]), "{key}: {reason}");
            down.insert(key.to_owned(), reason);
        }
        down.len() == expected.len()
    });
    pages.wait_for("/pace", 2);
    let found = readings(&fleet);
    let services: Vec<_> = found.keys().map(|(service, _)| service.as_str()).collect();
    assert_eq!(services, ["pace"], "no reading is invented, and a slow target holds up no other");

    // The control: it is the page that puts the target down.
    expected.keys().filter(|id| *id != "histogram").for_each(|id| pages.set_text(&format!("/{id}"), "q 1\n"));
    let mut up = std::collections::BTreeSet::new();
    told.until("all to be up", |key, value| {
        if health(value).is_some_and(|health| health.targets[0].up) && key != "pace" {
            up.insert(key.to_owned());
        }
        up.len() == expected.len() - 1
    });
    collector.stop();
}

/// One server may be asked, the other not: not by its address, not by a name that leads to it, not by a redirect.
#[test]
fn an_address_that_is_not_allowed_is_never_asked() {
    let (open, closed, fleet) = (Pages::start(), Pages::start(), Fleet::new("guard"));
    for id in ["address", "name", "mapped"] {
        closed.set_text(&format!("/{id}"), "q 1\n");
        open.set_text(&format!("/{id}"), "q 1\n");
    }
    open.set("/redirect", status_page(307, &format!("Location: {}\r\n", closed.url("/address"))));
    open.set_text("/pace", "q 1\n");
    let specs = |port: u16| {
        [("address", "127.0.0.1"), ("name", "localhost"), ("mapped", "[::ffff:127.0.0.1]")]
            .map(|(id, host)| spec(id, &[format!("name: q, interval: 1, scrape_url: 'http://{host}:{port}/{id}'")]))
    };
    specs(closed.port).iter().for_each(|text| fleet.register(text));
    fleet.register(&plain(&open, "redirect"));
    fleet.register(&plain(&open, "pace"));
    let collector = collect(&fleet, "c1", &[&format!("127.0.0.1/32:{}", open.port)]);
    let mut told = Follow::new(&fleet, &fleet.topics.targets);
    let mut reasons = BTreeMap::new();
    told.until("all to be down", |key, value| {
        let target = health(value).and_then(|mut health| health.targets.pop());
        if let Some(target) = target.filter(|target| target.scraped_at.is_some() && !target.up) {
            reasons.insert(key.to_owned(), target.reason.unwrap());
        }
        reasons.len() == 4
    });
    for id in ["address", "name", "mapped"] {
        assert!(reasons[id].contains("a loopback address, which `[collect] allow` does not name"), "{reasons:?}");
    }
    assert!(reasons["redirect"].contains("status 307"), "{reasons:?}");
    open.wait_for("/pace", 3);
    assert_eq!(closed.hits().len(), 0, "{:?}", closed.hits());

    // The control: the same at a port that is allowed.
    specs(open.port).iter().for_each(|text| fleet.register(text));
    open.wait_for_each(&["/address", "/name"], 1);
    collector.stop();
}

const INTERVAL: Duration = Duration::from_secs(5);

/// The longest distance of two scrapes of one target, and the longest time for which one was scraped twice an interval.
fn gaps(pages: &Pages, ids: &[String], since: Instant) -> (Duration, Duration) {
    let mut worst = (Duration::ZERO, Duration::ZERO);
    for id in ids {
        let hits: Vec<_> = pages.hits_of(&format!("/{id}")).into_iter().filter(|at| *at >= since).collect();
        let gap = hits.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        // One collector leaves at least a quarter of the interval between two scrapes.
        let doubled: Vec<_> =
            hits.windows(2).filter(|pair| pair[1] - pair[0] < INTERVAL / 5).map(|pair| pair[1]).collect();
        let twice = doubled.first().zip(doubled.last()).map_or(Duration::ZERO, |(first, last)| *last - *first);
        worst = (worst.0.max(gap), worst.1.max(twice));
    }
    worst
}

/// ```text
/// c1 c2 share 12 targets -- kill -9 c1 --> c2 has all -- c1 comes back --> shared -- SIGTERM c2 --> c1 has all
/// ```
#[test]
fn the_targets_of_a_collector_that_dies_are_not_unscraped_for_more_than_two_intervals() {
    let (pages, fleet) = (Pages::start(), Fleet::new("killed"));
    let ids = ids("target", 3);
    for id in &ids {
        pages.set_text(&format!("/{id}"), "q 1\n");
        fleet.register(&spec(id, &[format!("name: q, scrape_url: '{}'", pages.url(&format!("/{id}")))]));
    }
    let paths: Vec<_> = ids.iter().map(|id| format!("/{id}")).collect();
    let one = collect(&fleet, "c1", &["127.0.0.1"]);
    let two = collect(&fleet, "c2", &["127.0.0.1"]);
    let mut beats = Follow::new(&fleet, &fleet.topics.targets);
    let mut owners = BTreeMap::new();
    let mut shared = |what: &str, counts: &[(&str, usize)]| {
        beats.until(what, |key, value| {
            if let (Some(collector), Some(value)) = (key.strip_prefix(Beat::PREFIX), value)
                && let Ok(TargetRecord::Collector(beat)) = codec::target::decode(value)
            {
                owners.insert(collector.to_owned(), beat.owned.len());
            }
            counts.iter().all(|(name, count)| owners.get(*name) == Some(count))
        });
    };
    shared("both to have a half", &[("c1", 2), ("c2", 2)]);
    let since = Instant::now();
    pages.wait_for_each(&paths, 1);

    one.kill();
    shared("c2 to have all", &[("c2", 4)]);
    pages.wait_for_each(&paths, 2);
    let (gap, twice) = gaps(&pages, &ids, since);
    assert!(gap <= 2 * INTERVAL, "unscraped for {gap:?} after a kill");
    assert!(twice <= INTERVAL, "scraped twice for {twice:?} after a kill");

    let one = collect(&fleet, "c1", &["127.0.0.1"]);
    shared("both to have a half again", &[("c1", 2), ("c2", 2)]);
    two.stop();
    let stopped = Instant::now();
    // Adopted before the group has noticed anything.
    pages.wait_for_each(&paths, 2);
    let (gap, twice) = gaps(&pages, &ids, since);
    assert!(gap <= 2 * INTERVAL, "unscraped for {gap:?} after an end in order");
    assert!(twice <= INTERVAL, "scraped twice for {twice:?}");
    let early: Vec<_> =
        ids.iter().map(|id| pages.hits_of(&format!("/{id}")).into_iter().find(|at| *at > stopped)).collect();
    assert!(early.iter().all(Option::is_some), "{early:?}");

    // The same by what is on the bus: a reading a scrape, none longer apart.
    for ((service, _), list) in readings(&fleet) {
        let apart = list.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
        assert!(apart <= 2 * 5_000 + 500, "{service}: {apart} ms between two readings");
    }
    one.stop();
}

/// What nobody scrapes any more is stale on `ops status`, never up.
#[test]
fn a_target_without_a_collector_is_stale() {
    let (pages, fleet) = (Pages::start(), Fleet::new("stale"));
    pages.set_text("/svc", "q 1\n");
    fleet.register(&plain(&pages, "svc"));
    assert_eq!(targets(&fleet, "svc")[0].state, TargetState::Stale);
    let collector = collect(&fleet, "c1", &["127.0.0.1"]);
    Follow::new(&fleet, &fleet.topics.targets)
        .until("it to be up", |_, value| health(value).is_some_and(|health| health.targets[0].up));
    assert_eq!(targets(&fleet, "svc")[0].state, TargetState::Up);
    collector.kill();
    let board = Board::open(&fleet.settings, &fleet.topics, Some("svc")).unwrap();
    let state = |later: i64| board.view().statuses(now_ms() + later).remove(0).targets[0].state;
    assert_eq!(state(16_000), TargetState::Stale, "by the clock of whoever looks");
}
