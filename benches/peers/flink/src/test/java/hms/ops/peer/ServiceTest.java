package hms.ops.peer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
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
        var timers = new TreeMap<Long, Set<String>>();
        long clock = 0;
        for (Log.Entry entry : log) {
            clock = Math.max(clock, entry.stamp());
            if (random.nextInt(10) == 0) {
                fire(service, states, timers, clock, events);
            }
            if (reading.decode(entry.bytes()) && reading.ts <= entry.stamp() + Slo.FUTURE_MS) {
                long now = clock;
                String id = reading.service();
                long[] state = states.computeIfAbsent(id, first -> service.start(now));
                service.evaluate(state, clock, event -> add(events, id, event));
                service.count(state, reading.ts, reading.value);
                arm(service, timers, id, state, service.stirs(state, reading.value));
            }
        }
        fire(service, states, timers, clock, events);
        return events;
    }

    private static void arm(
            Service service, TreeMap<Long, Set<String>> timers, String id, long[] state, boolean stirred) {
        long wake = stirred ? service.wake(state) : -1;
        if (Service.arm(state, wake)) {
            timers.computeIfAbsent(wake, time -> new TreeSet<>()).add(id);
        }
    }

    private static void fire(
            Service service,
            Map<String, long[]> states,
            TreeMap<Long, Set<String>> timers,
            long watermark,
            Map<String, List<String>> events) {
        while (!timers.isEmpty() && timers.firstKey() <= watermark) {
            var due = timers.pollFirstEntry();
            for (String id : due.getValue()) {
                long[] state = states.get(id);
                Service.disarm(state, due.getKey());
                service.evaluate(state, due.getKey(), event -> add(events, id, event));
                arm(service, timers, id, state, true);
            }
        }
    }

    private static void add(Map<String, List<String>> events, String id, String event) {
        events.computeIfAbsent(id, service -> new ArrayList<>()).add(event);
    }
}
