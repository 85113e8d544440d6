package hms.ops.peer;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/** Small logs of one partition, and what must come of them, straight from the definition. */
public final class Log {
    public record Entry(String service, long stamp, long ts, double value, boolean poison) {
        public byte[] bytes() {
            byte[] whole = Log.encode(service, "queue_time_seconds", ts, value);
            return poison ? Arrays.copyOf(whole, whole.length - 1) : whole;
        }
    }

    public static final Slo SLO = new Slo(1_000, 20_000, 2_000, 1.0, 0.8, 4_000, 5, 10_000);
    public static final long START = 1_700_000_000_000L;

    private Log() {}

    /** Services that go bad for a while and get well; stamps and times wander by up to `wander` ms. */
    public static List<Entry> random(long seed, int wander, double poison) {
        var random = new Random(seed);
        var entries = new ArrayList<Entry>();
        int services = 1 + random.nextInt(6);
        long now = START + random.nextInt(100_000);
        int gap = 50 + random.nextInt(300);
        for (int i = 0; i < 1_500; i++) {
            now += random.nextInt(2 * gap);
            int service = random.nextInt(services);
            boolean bad = Math.floorMod(now / 15_000 + service, 4) == 0;
            double value = random.nextInt(10) < (bad ? 3 : 0) + random.nextInt(20) / 19 ? 1.5 : random.nextInt(11) / 10.0;
            long ts = now - (wander == 0 ? 0 : random.nextInt(wander));
            if (wander > 2_000 && random.nextInt(50) == 0) {
                ts = now + random.nextInt(8_000) - 1_000;
            }
            long stamp = wander > 2_000 ? now - random.nextInt(20) : now;
            entries.add(new Entry("s%06d".formatted(service), stamp, ts, value, random.nextDouble() < poison));
        }
        return entries;
    }

    /** The (kind, E) of each service by brute force: every window is counted anew. */
    public static Map<String, List<String>> expected(Slo slo, List<Entry> log) {
        var events = new TreeMap<String, List<String>>();
        var machines = new TreeMap<String, Integer>();
        var counted = new ArrayList<Entry>();
        long clock = Long.MIN_VALUE;
        long next = 0;
        for (Entry entry : log) {
            if (clock == Long.MIN_VALUE) {
                next = slo.firstNotDue(entry.stamp());
            }
            clock = Math.max(clock, entry.stamp());
            for (; slo.dueAt(next) <= clock; next++) {
                for (String service : machines.keySet()) {
                    int before = machines.get(service);
                    int after = judge(slo, counted, service, before, next * slo.stepMs());
                    machines.put(service, after);
                    String event = slo.event(before, after, next);
                    if (event != null) {
                        events.computeIfAbsent(service, s -> new ArrayList<>()).add(event);
                    }
                }
            }
            boolean early = entry.ts() > entry.stamp() + Slo.FUTURE_MS;
            if (!entry.poison() && !early && entry.ts() > next * slo.stepMs() - slo.windowMs() - slo.stepMs()) {
                machines.putIfAbsent(entry.service(), Slo.HEALTHY);
                counted.add(entry);
            }
        }
        return events;
    }

    /** The rules as they are written, with a sorted p95. */
    private static int judge(Slo slo, List<Entry> counted, String service, int machine, long at) {
        List<Entry> window = counted.stream()
                .filter(entry -> entry.service().equals(service) && entry.ts() > at - slo.windowMs() && entry.ts() <= at)
                .toList();
        if (window.stream().noneMatch(entry -> entry.ts() > at - slo.silenceMs())) {
            return machine;
        }
        double[] values = window.stream().mapToDouble(Entry::value).sorted().toArray();
        int n = values.length;
        double p95 = values[(95 * n + 99) / 100 - 1];
        Boolean clear = p95 <= slo.recoverThreshold();
        if (n < slo.minSamples()) {
            clear = n >= Math.min(3, slo.minSamples()) && values[n - 1] <= slo.recoverThreshold() ? true : null;
        }
        if (machine == Slo.HEALTHY) {
            return n >= slo.minSamples() && p95 > slo.threshold() ? Slo.OPEN : Slo.HEALTHY;
        } else if (clear == null) {
            return machine;
        } else if (!clear) {
            return Slo.OPEN;
        }
        int held = machine == Slo.OPEN ? 0 : (int) (machine + slo.stepMs());
        return held >= slo.recoverMs() ? Slo.HEALTHY : held;
    }

    public static byte[] encode(String service, String sensor, long ts, double value) {
        ByteBuffer out = ByteBuffer.allocate(200).order(ByteOrder.LITTLE_ENDIAN);
        out.put(Reading.HEADER);
        for (String text : List.of(service, sensor)) {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            varint(out, bytes.length);
            out.put(bytes);
        }
        varint(out, ts);
        out.putDouble(value);
        varint(out, 1);
        for (String text : List.of("pod", "a-1")) {
            varint(out, text.length());
            out.put(text.getBytes(StandardCharsets.UTF_8));
        }
        varint(out, 0);
        return Arrays.copyOf(out.array(), out.position());
    }

    private static void varint(ByteBuffer out, long number) {
        long raw = number << 1 ^ number >> 63;
        for (; (raw & ~0x7fL) != 0; raw >>>= 7) {
            out.put((byte) (raw & 0x7f | 0x80));
        }
        out.put((byte) raw);
    }
}
