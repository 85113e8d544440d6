package hms.ops.peer;

import java.util.Arrays;

/**
 * The hand-tuned form's state of one partition, all of it on the heap, as a pure function of its records. Kafka comes in
 * by two interfaces; see {@link PapiProcessor}.
 *
 * <p>Like `ops process` it cuts whenever the clock passes a multiple of 10 s: what was touched goes to the store, and so
 * to its changelog, and what came between the last cut and the committed offset is read again after a restart.
 */
public final class Partition {
    /** Where verdicts go. */
    public interface Events {
        void emit(byte[] service, String event);
    }

    /** Where cuts go. */
    public interface Store {
        void put(byte[] key, byte[] value);
    }

    private static final long CUT_MS = 10_000;
    private static final long NO_CLOCK = Long.MIN_VALUE;

    private final Slo slo;
    private final Events events;
    private final Cuts cuts;
    private final Reading reading = new Reading();
    private final Names names = new Names();
    private final Windows windows;
    private int[] machines = new int[16];
    private long clock = NO_CLOCK;
    /** When the next instant is due. */
    private long due;
    private boolean muted;

    public long counted;
    public long rejected;

    public Partition(Slo slo, Events events, Store store) {
        this.slo = slo;
        this.events = events;
        windows = new Windows(slo);
        cuts = new Cuts(slo, names, windows, store, CUT_MS);
        Arrays.fill(machines, Slo.HEALTHY);
    }

    /** The next record: the clock moves, what is due is evaluated, the record is counted. */
    public void take(long stamp, long offset, byte[] value) {
        if (stamp > clock) {
            move(stamp, offset);
        }
        if (!reading.decode(value) || reading.ts > stamp + Slo.FUTURE_MS) {
            rejected++;
            return;
        }
        long step = slo.stepOf(reading.ts);
        if (step < windows.oldest()) {
            rejected++;
            return;
        }
        int service = service();
        windows.count(service, step, Tally.one(slo, reading.value));
        cuts.touch(service, step);
        counted++;
    }

    private int service() {
        int before = names.count();
        int service = names.find(reading.bytes(), reading.serviceFrom, reading.serviceTo);
        if (service == before) {
            reserve(service);
        }
        return service;
    }

    private void reserve(int service) {
        windows.reserve(service);
        cuts.reserve(service);
        if (service >= machines.length) {
            int before = machines.length;
            machines = Arrays.copyOf(machines, 2 * before);
            Arrays.fill(machines, before, machines.length, Slo.HEALTHY);
        }
    }

    private void move(long stamp, long offset) {
        long from = clock;
        clock = stamp;
        if (from == NO_CLOCK) {
            long next = slo.firstNotDue(stamp);
            windows.start(next - 1);
            due = slo.dueAt(next);
            cuts.cut(clock, offset, machines);
            return;
        }
        for (; due <= stamp; due += slo.stepMs()) {
            evaluate();
        }
        if (Math.floorDiv(stamp, CUT_MS) > Math.floorDiv(from, CUT_MS)) {
            cuts.cut(clock, offset, machines);
        }
    }

    private void evaluate() {
        int services = names.count();
        windows.advance(services);
        for (int service = 0; service < services; service++) {
            // Nothing bad, nothing open: nothing can happen.
            if (machines[service] != Slo.HEALTHY || Tally.over(windows.sums[service]) != 0) {
                judge(service);
            }
        }
    }

    private void judge(int service) {
        long sum = windows.sums[service];
        long step = windows.through();
        boolean fresh = windows.latest[service] > step - slo.silenceMs() / slo.stepMs();
        int before = machines[service];
        int after = slo.next(before, Tally.n(sum), Tally.over(sum), Tally.unrecovered(sum), fresh);
        machines[service] = after;
        String event = slo.event(before, after, step);
        if (event != null && !muted) {
            events.emit(names.name(service), event);
        }
    }

    /** The clock of the last cut, which comes before all else that the store holds. */
    public void restoreClock(byte[] value) {
        clock = Cuts.clock(value);
        long next = slo.firstNotDue(clock);
        windows.start(next - 1);
        due = slo.dueAt(next);
    }

    /** Anything else that the store holds, in any order. */
    public void restore(byte[] key, byte[] value) {
        int length = Cuts.nameLength(key);
        int service = names.find(key, 0, length);
        reserve(service);
        if (Cuts.isMachine(key)) {
            machines[service] = cuts.restoreMachine(service, value);
        } else {
            cuts.restoreSteps(service, value);
        }
    }

    /** All was restored; what comes now was published before, until {@link #replayed}. */
    public void restored() {
        windows.restored(names.count());
        muted = true;
    }

    /** What comes now is new. */
    public void replayed() {
        muted = false;
        counted = 0;
        rejected = 0;
    }
}
