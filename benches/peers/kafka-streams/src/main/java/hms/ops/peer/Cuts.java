package hms.ops.peer;

import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * What of a partition's heap goes to its store, so that a restart finds it: whatever was touched since the last cut, once.
 *
 * <pre>
 *   _partition           {clock, offset of the next record}
 *   SERVICE 0 SLOT       the counters of the steps that were touched, as they stand at the cut
 *   SERVICE 1            the machine, if it moved
 * </pre>
 *
 * Slots are reused when no window can see what they hold, so nothing is ever deleted.
 */
final class Cuts {
    /** No service is called that. */
    static final byte[] PARTITION = {'_', 'p', 'a', 'r', 't', 'i', 't', 'i', 'o', 'n'};

    private final long cutMs;
    private final int slots;
    private final Names names;
    private final Windows windows;
    private final Partition.Store store;
    /** The steps of each service that were touched since the last cut; none while first is above last. */
    private long[] first = new long[16];

    private long[] last = new long[16];
    private int[] written = new int[16];
    private ByteBuffer buffer = ByteBuffer.allocate(1024);

    Cuts(Slo slo, Names names, Windows windows, Partition.Store store, long cutMs) {
        this.cutMs = cutMs;
        this.names = names;
        this.windows = windows;
        this.store = store;
        long held = slo.windowMs() + slo.latenessMs() + Slo.FUTURE_MS + slo.stepMs();
        slots = Math.toIntExact((held + cutMs - 1) / cutMs + 1);
        clear(0);
    }

    private void clear(int from) {
        Arrays.fill(first, from, first.length, Long.MAX_VALUE);
        Arrays.fill(last, from, last.length, Long.MIN_VALUE);
        Arrays.fill(written, from, written.length, Slo.HEALTHY);
    }

    void reserve(int service) {
        int before = first.length;
        if (service >= before) {
            first = Arrays.copyOf(first, 2 * before);
            last = Arrays.copyOf(last, 2 * before);
            written = Arrays.copyOf(written, 2 * before);
            clear(before);
        }
    }

    void touch(int service, long step) {
        if (step < first[service]) {
            first[service] = step;
        }
        if (step > last[service]) {
            last[service] = step;
        }
    }

    void cut(long clock, long offset, int[] machines) {
        short slot = (short) Math.floorMod(Math.floorDiv(clock, cutMs), slots);
        for (int service = 0; service < names.count(); service++) {
            if (first[service] <= last[service]) {
                store.put(key(service, slot), steps(service));
                first[service] = Long.MAX_VALUE;
                last[service] = Long.MIN_VALUE;
            }
            if (machines[service] != written[service]) {
                written[service] = machines[service];
                byte[] machine = ByteBuffer.allocate(4).putInt(written[service]).array();
                store.put(key(service, (short) -1), machine);
            }
        }
        store.put(PARTITION, ByteBuffer.allocate(16).putLong(clock).putLong(offset).array());
    }

    /** A slot below 0 is the machine. */
    private byte[] key(int service, short slot) {
        byte[] name = names.name(service);
        return ByteBuffer.allocate(name.length + 3).put(name).put((byte) (slot < 0 ? 1 : 0)).putShort(slot).array();
    }

    static int nameLength(byte[] key) {
        return key.length - 3;
    }

    static boolean isMachine(byte[] key) {
        return key[key.length - 3] == 1;
    }

    static long clock(byte[] partition) {
        return ByteBuffer.wrap(partition).getLong();
    }

    static long offset(byte[] partition) {
        return ByteBuffer.wrap(partition).getLong(8);
    }

    private byte[] steps(int service) {
        long from = Math.max(first[service], windows.oldest());
        int most = 16 + 15 * (int) Math.max(0, last[service] - from + 1);
        if (most > buffer.capacity()) {
            buffer = ByteBuffer.allocate(2 * most);
        }
        buffer.clear().putLong(from);
        for (long step = from; step <= last[service]; step++) {
            long counters = windows.get(service, step);
            put(Tally.n(counters));
            if (counters != 0) {
                put(Tally.over(counters));
                put(Tally.unrecovered(counters));
            }
        }
        return Arrays.copyOf(buffer.array(), buffer.position());
    }

    private void put(int number) {
        for (; number >= 0x80; number >>>= 7) {
            buffer.put((byte) (number | 0x80));
        }
        buffer.put((byte) number);
    }

    private static int get(ByteBuffer buffer) {
        int number = 0;
        for (int shift = 0; ; shift += 7) {
            byte next = buffer.get();
            number |= (next & 0x7f) << shift;
            if (next >= 0) {
                return number;
            }
        }
    }

    void restoreSteps(int service, byte[] value) {
        ByteBuffer steps = ByteBuffer.wrap(value);
        for (long step = steps.getLong(); steps.hasRemaining(); step++) {
            int n = get(steps);
            if (n > 0) {
                long counters = Tally.pack(n, get(steps), get(steps));
                if (step >= windows.oldest()) {
                    windows.restore(service, step, counters);
                }
            }
        }
    }

    int restoreMachine(int service, byte[] value) {
        written[service] = ByteBuffer.wrap(value).getInt();
        return written[service];
    }
}
