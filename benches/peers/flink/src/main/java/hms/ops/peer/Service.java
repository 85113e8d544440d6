package hms.ops.peer;

/**
 * One service: its window and its machine, in one array of longs, which is what keyed state holds and copies.
 * Pure; {@link SloFunction} brings readings and time.
 */
final class Service {
    /** Called with the text of an event. */
    interface Events {
        void emit(String event);
    }

    /** Places in the array: the last instant that was evaluated, the window's sum at it, its newest reading, ... */
    private static final int THROUGH = 0;

    private static final int SUM = 1;
    private static final int LATEST = 2;
    private static final int MACHINE = 3;
    /** All that the ring holds, steps after the window included. */
    private static final int ALL = 4;
    /** When the first timer is set for, 0 for none. */
    private static final int TIMER = 5;

    private static final int RING = 6;

    private final Slo slo;
    private final int windowSteps;
    private final int ring;

    Service(Slo slo) {
        this.slo = slo;
        windowSteps = slo.windowSteps();
        ring = Math.toIntExact(windowSteps + (slo.latenessMs() + Slo.FUTURE_MS) / slo.stepMs() + 3);
    }

    /** The state of a service at its first reading. */
    long[] start(long clock) {
        long[] state = new long[RING + ring];
        state[THROUGH] = slo.firstNotDue(clock) - 1;
        state[LATEST] = Long.MIN_VALUE;
        state[MACHINE] = Slo.HEALTHY;
        return state;
    }

    private int place(long step) {
        return RING + Math.floorMod(step, ring);
    }

    void count(long[] state, long ts, double value) {
        long step = slo.stepOf(ts);
        if (step <= state[THROUGH] - windowSteps) {
            return;
        }
        long one = Tally.one(slo, value);
        state[place(step)] += one;
        state[ALL] += one;
        if (step <= state[THROUGH]) {
            state[SUM] += one;
            state[LATEST] = Math.max(state[LATEST], step);
        }
    }

    /** Evaluates every instant that is due at a clock. */
    void evaluate(long[] state, long clock, Events events) {
        while (slo.dueAt(state[THROUGH] + 1) <= clock) {
            long step = ++state[THROUGH];
            int leaving = place(step - windowSteps);
            long entering = state[place(step)];
            state[SUM] += entering - state[leaving];
            state[ALL] -= state[leaving];
            state[leaving] = 0;
            if (entering != 0) {
                state[LATEST] = step;
            }
            judge(state, step, events);
        }
    }

    private void judge(long[] state, long step, Events events) {
        long sum = state[SUM];
        int before = (int) state[MACHINE];
        boolean fresh = state[LATEST] > step - slo.silenceMs() / slo.stepMs();
        int after = slo.next(before, Tally.n(sum), Tally.over(sum), Tally.unrecovered(sum), fresh);
        state[MACHINE] = after;
        String event = slo.event(before, after, step);
        if (event != null) {
            events.emit(event);
        }
    }

    /**
     * When an instant is due, at the earliest, that may change something although no reading comes; -1 for never. A
     * window with n readings can bear n / 20 bad ones: until fewer are left of it, nothing can happen.
     */
    long wake(long[] state) {
        long next = state[THROUGH] + 1;
        if (state[MACHINE] != Slo.HEALTHY) {
            return slo.dueAt(next);
        }
        int bad = Tally.over(state[ALL]);
        if (bad == 0) {
            return -1;
        }
        long spare = Tally.n(state[SUM]) - 20L * bad;
        // What leaves at an instant is gone at it. In the end all has left, so this ends.
        while ((spare -= Tally.n(state[place(next - windowSteps)])) >= 0) {
            next++;
        }
        return slo.dueAt(next);
    }

    /** Should {@link #wake} be asked after this reading? A good one only makes it later. */
    boolean stirs(long[] state, double value) {
        return state[MACHINE] != Slo.HEALTHY || value > slo.threshold();
    }

    /** Says that a timer is set for a time; false if there is one that comes first. */
    static boolean arm(long[] state, long wake) {
        if (wake < 0 || state[TIMER] != 0 && state[TIMER] <= wake) {
            return false;
        }
        state[TIMER] = wake;
        return true;
    }

    /** A timer has come. Those that an earlier one replaced come as well, and do no harm. */
    static void disarm(long[] state, long time) {
        if (state[TIMER] <= time) {
            state[TIMER] = 0;
        }
    }
}
