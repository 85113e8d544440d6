package hms.ops.peer;

import java.util.Arrays;

/**
 * The counters of all services of a partition, by step and service, and their sums over the window.
 *
 * <p>A row holds one step of every service, each a {@link Tally}: an instant walks over two rows from one end to the
 * other, whatever the length of the window.
 *
 * <pre>
 *   row:  through - W ... through ... what is ahead (lateness, readings from the future)
 *         |<---- in the sum ---->|
 * </pre>
 */
final class Windows {
    private final int windowSteps;
    private final long[][] rows;
    long[] sums = new long[16];
    /** The newest step at or before `through` that has a reading. */
    long[] latest = new long[16];

    private long through;

    Windows(Slo slo) {
        windowSteps = slo.windowSteps();
        long ahead = (slo.latenessMs() + Slo.FUTURE_MS) / slo.stepMs() + 3;
        rows = new long[Math.toIntExact(windowSteps + ahead)][16];
    }

    /** The last step in the sums. */
    long through() {
        return through;
    }

    /** The first step that any window to come can see. */
    long oldest() {
        return through - windowSteps + 1;
    }

    void start(long step) {
        through = step;
    }

    /** Makes room for services up to this number. */
    void reserve(int service) {
        if (service >= sums.length) {
            int length = 2 * sums.length;
            Arrays.setAll(rows, row -> Arrays.copyOf(rows[row], length));
            sums = Arrays.copyOf(sums, length);
            latest = Arrays.copyOf(latest, length);
        }
    }

    private long[] row(long step) {
        return rows[Math.floorMod(step, rows.length)];
    }

    long get(int service, long step) {
        return row(step)[service];
    }

    /** Counts a reading of a step not before {@link #oldest}. */
    void count(int service, long step, long one) {
        row(step)[service] += one;
        if (step <= through) {
            sums[service] += one;
            latest[service] = Math.max(latest[service], step);
        }
    }

    /** What a store says that a step's counters were at some time: counters only grow, so the largest is the last. */
    void restore(int service, long step, long counters) {
        long[] row = row(step);
        row[service] = Math.max(row[service], counters);
    }

    /** Adds up what was restored. */
    void restored(int services) {
        for (long step = oldest(); step <= through; step++) {
            for (int service = 0; service < services; service++) {
                sums[service] += row(step)[service];
                if (row(step)[service] != 0) {
                    latest[service] = step;
                }
            }
        }
    }

    /** Moves the windows of all services on by one step. */
    void advance(int services) {
        long step = through + 1;
        long[] enter = row(step);
        long[] leave = row(step - windowSteps);
        for (int service = 0; service < services; service++) {
            long entering = enter[service];
            long sum = sums[service] + entering - leave[service];
            sums[service] = sum;
            if (entering != 0) {
                latest[service] = step;
            }
        }
        Arrays.fill(leave, 0, services, 0);
        through = step;
    }
}
