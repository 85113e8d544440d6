package hms.ops.peer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class ServiceTest {
    @Test
    void aServiceIsTheDefinition() {
        int events = 0;
        for (long seed = 0; seed < 40; seed++) {
            List<Log.Entry> log = Log.random(seed, 6_000, 0.02);
            var expected = Log.expected(Log.SLO, log);
            events += expected.values().stream().mapToInt(List::size).sum();
            assertEquals(expected, run(log, new Random(seed)), "seed " + seed);
        }
        assertTrue(events > 100, "the logs say too little: " + events);
    }

    /** As Flink does: readings wake their service, timers some others, at any time after they are due. */
    private static Map<String, List<String>> run(List<Log.Entry> log, Random random) {
        var service = new Service(Log.SLO);
        var states = new TreeMap<String, long[]>();
        var events = new TreeMap<String, List<String>>();
        var reading = new Reading();
        long clock = 0;
        for (Log.Entry entry : log) {
            clock = Math.max(clock, entry.stamp());
            if (random.nextInt(10) == 0) {
                timers(service, states, clock, events);
            }
            if (reading.decode(entry.bytes()) && reading.ts <= entry.stamp() + Slo.FUTURE_MS) {
                long now = clock;
                long[] state = states.computeIfAbsent(reading.service(), id -> service.start(now));
                service.evaluate(state, clock, event -> add(events, reading.service(), event));
                service.count(state, reading.ts, reading.value);
            }
        }
        timers(service, states, clock, events);
        return events;
    }

    private static void timers(
            Service service, Map<String, long[]> states, long watermark, Map<String, List<String>> events) {
        states.forEach((id, state) -> {
            for (long wake = service.wake(state); wake >= 0 && wake <= watermark; wake = service.wake(state)) {
                service.evaluate(state, wake, event -> add(events, id, event));
            }
        });
    }

    private static void add(Map<String, List<String>> events, String id, String event) {
        events.computeIfAbsent(id, service -> new ArrayList<>()).add(event);
    }
}
