package hms.ops.peer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.test.TestRecord;
import org.junit.jupiter.api.Test;

class FormsTest {
    private static final PapiProcessor.Replay NO_REPLAY = (partition, from, into) -> {
        throw new AssertionError("nothing was ever cut");
    };

    @Test
    void papiAndStraightforwardAreTheDefinition() {
        int events = 0;
        for (long seed = 0; seed < 40; seed++) {
            List<Log.Entry> log = Log.random(seed, 6_000, 0.02);
            var expected = Log.expected(Log.SLO, log);
            events += expected.values().stream().mapToInt(List::size).sum();
            for (boolean keeps : new boolean[] {false, true}) {
                Topology papi = PapiProcessor.topology(Log.SLO, keeps, NO_REPLAY, "in", "out");
                assertEquals(expected, run(papi, log), "seed " + seed);
            }
            assertEquals(expected, run(StraightforwardProcessor.topology(Log.SLO, "in", "out"), log), "seed " + seed);
        }
        assertTrue(events > 100, "the logs say too little: " + events);
    }

    /** Nothing late, nothing silent, and the clock is event time: that much the DSL can express. */
    @Test
    void theDslIsTheDefinitionWhereNothingIsLate() {
        int events = 0;
        for (long seed = 0; seed < 40; seed++) {
            List<Log.Entry> log = new ArrayList<>(Log.random(seed, 0, 0.02));
            // Its stream time is 1 ms behind; of what is due at the end both see the same.
            long end = (log.get(log.size() - 1).stamp() / 1_000 + 1) * 1_000;
            log.add(new Log.Entry("s000000", end + 1, end + 1, 0, false));
            var expected = Log.expected(Log.SLO, log);
            events += expected.values().stream().mapToInt(List::size).sum();
            assertEquals(expected, run(DslForm.topology(Log.SLO, "in", "out"), log), "seed " + seed);
        }
        assertTrue(events > 100, "the logs say too little: " + events);
    }

    /** After a restart at any point, from the last cut, nothing is published twice and nothing is missing. */
    @Test
    void aRestartAnywhereChangesNothing() {
        for (long seed = 0; seed < 4; seed++) {
            List<Log.Entry> log = Log.random(seed, 6_000, 0.02);
            var expected = Log.expected(Log.SLO, log);
            for (int end = 1; end < log.size(); end += 7) {
                assertEquals(expected, restarted(log, end), "seed " + seed + ", restart at " + end);
            }
        }
    }

    private static Map<String, List<String>> restarted(List<Log.Entry> log, int end) {
        var events = new TreeMap<String, List<String>>();
        var store = new TreeMap<String, byte[]>();
        Partition.Store puts = (key, value) -> store.put(new String(key, StandardCharsets.ISO_8859_1), value);
        Partition.Events emits = (service, event) -> events.computeIfAbsent(
                        new String(service, StandardCharsets.UTF_8), s -> new ArrayList<>())
                .add(event);
        feed(new Partition(Log.SLO, emits, puts), log, 0, end);
        var second = new Partition(Log.SLO, emits, puts);
        byte[] cut = store.get("_partition");
        second.restoreClock(cut);
        Map.copyOf(store).forEach((key, value) -> {
            if (!key.equals("_partition")) {
                second.restore(key.getBytes(StandardCharsets.ISO_8859_1), value);
            }
        });
        second.restored();
        feed(second, log, (int) Cuts.offset(cut), end);
        second.replayed();
        feed(second, log, end, log.size());
        return events;
    }

    private static void feed(Partition partition, List<Log.Entry> log, int from, int to) {
        for (int offset = from; offset < to; offset++) {
            partition.take(log.get(offset).stamp(), offset, log.get(offset).bytes());
        }
    }

    private static Map<String, List<String>> run(Topology topology, List<Log.Entry> log) {
        var properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, "test");
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "none:1");
        properties.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_WINDOWED_AGGREGATION, 0L);
        properties.put(
                StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG,
                org.apache.kafka.streams.state.BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class);
        var events = new TreeMap<String, List<String>>();
        try (var driver = new TopologyTestDriver(topology, properties)) {
            var input = driver.createInputTopic("in", new StringSerializer(), new ByteArraySerializer());
            var output = driver.createOutputTopic("out", new StringDeserializer(), new StringDeserializer());
            for (Log.Entry entry : log) {
                input.pipeInput(new TestRecord<>(
                        entry.service(), entry.bytes(), java.time.Instant.ofEpochMilli(entry.stamp())));
            }
            for (var event : output.readKeyValuesToList()) {
                events.computeIfAbsent(event.key, service -> new ArrayList<>()).add(event.value);
            }
        }
        return events;
    }
}
