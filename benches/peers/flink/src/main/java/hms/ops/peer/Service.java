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
    private static final int RING = 5;

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

    /** When the next instant is due, if it may change something without another reading, else -1. */
    long wake(long[] state) {
        boolean calm = state[MACHINE] == Slo.HEALTHY && Tally.over(state[ALL]) == 0;
        return calm ? -1 : slo.dueAt(state[THROUGH] + 1);
    }
}
