package hms.ops.peer;

import java.io.Serializable;
import java.util.Map;

/**
 * The promise, the same for every service, and the life of an incident: when one is opened and resolved.
 *
 * <p>A machine is one int: {@link #HEALTHY}, {@link #OPEN}, or for how many ms an open one has been clear. So every
 * form can keep it where it likes, and a transition tells what happened.
 */
public record Slo(
        long stepMs,
        long windowMs,
        long latenessMs,
        double threshold,
        double recoverThreshold,
        long recoverMs,
        int minSamples,
        long silenceMs)
        implements Serializable {

    /** Nothing to tell. */
    public static final int HEALTHY = -2;
    /** An incident is open, and not clear. */
    public static final int OPEN = -1;
    /** A reading may be this far ahead of its own append time. */
    public static final long FUTURE_MS = 5_000;

    public static Slo of(Map<String, String> environment) {
        return new Slo(
                Long.parseLong(environment.getOrDefault("OPS_BENCH_STEP_MS", "1000")),
                Long.parseLong(Settings.text(environment, "OPS_BENCH_WINDOW_MS")),
                Long.parseLong(Settings.text(environment, "OPS_BENCH_LATENESS_MS")),
                Double.parseDouble(Settings.text(environment, "OPS_BENCH_THRESHOLD")),
                Double.parseDouble(Settings.text(environment, "OPS_BENCH_RECOVER_THRESHOLD")),
                Long.parseLong(Settings.text(environment, "OPS_BENCH_RECOVER_MS")),
                Integer.parseInt(Settings.text(environment, "OPS_BENCH_MIN_SAMPLES")),
                Long.parseLong(environment.getOrDefault("OPS_BENCH_NO_DATA_MS", "60000")));
    }

    /** Steps of the window. */
    public int windowSteps() {
        return Math.toIntExact(windowMs / stepMs);
    }

    /** The step that a reading belongs to: step k holds (k - 1, k] times the step's length. */
    public long stepOf(long ts) {
        return Math.floorDiv(ts + stepMs - 1, stepMs);
    }

    /** The first instant, as a step, that is not due yet at a clock: the smallest E with E + L > clock. */
    public long firstNotDue(long clock) {
        return Math.floorDiv(clock - latenessMs, stepMs) + 1;
    }

    /** At which clock the instant of a step is due. */
    public long dueAt(long step) {
        return step * stepMs + latenessMs;
    }

    /** How many of n readings may be above a limit while their nearest-rank p95 is not. */
    static int allowed(int n) {
        return n - Math.toIntExact((95L * n + 99) / 100);
    }

    /**
     * The machine after one more instant.
     *
     * @param over readings of the window above the threshold
     * @param unrecovered those above the recover threshold
     * @param fresh there was a reading within the time of silence; without one nothing is known
     */
    public int next(int machine, int n, int over, int unrecovered, boolean fresh) {
        if (!fresh) {
            return machine;
        }
        if (machine == HEALTHY) {
            return n >= minSamples && over > allowed(n) ? OPEN : HEALTHY;
        }
        if (n < minSamples) {
            // Little traffic does not keep an incident open for ever, but it speaks against nothing.
            boolean clear = n >= Math.min(3, minSamples) && unrecovered == 0;
            return clear ? recover(machine) : machine;
        }
        return unrecovered <= allowed(n) ? recover(machine) : OPEN;
    }

    private int recover(int machine) {
        long held = machine == OPEN ? 0 : machine + stepMs;
        return held >= recoverMs ? HEALTHY : Math.toIntExact(held);
    }

    /** The event that a transition stands for, if any. */
    public String event(int before, int after, long step) {
        if ((before == HEALTHY) == (after == HEALTHY)) {
            return null;
        }
        return (after == HEALTHY ? "resolved " : "opened ") + step * stepMs;
    }
}
