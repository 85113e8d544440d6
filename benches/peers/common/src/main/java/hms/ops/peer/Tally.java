package hms.ops.peer;

/** The counters of some readings in one long, so that they are added and taken away at once: n, unrecovered, over. */
public final class Tally {
    private static final int BITS = 21;
    private static final long MASK = (1L << BITS) - 1;

    private Tally() {}

    public static long one(Slo slo, double value) {
        return pack(1, value > slo.threshold() ? 1 : 0, value > slo.recoverThreshold() ? 1 : 0);
    }

    public static long pack(long n, long over, long unrecovered) {
        return n << 2 * BITS | unrecovered << BITS | over;
    }

    public static int n(long tally) {
        if (tally < 0) {
            // The others are never more than n, so none can have run over before.
            throw new ArithmeticException("more than 2^21 readings of one service in a window");
        }
        return (int) (tally >>> 2 * BITS);
    }

    public static int over(long tally) {
        return (int) (tally & MASK);
    }

    public static int unrecovered(long tally) {
        return (int) (tally >>> BITS & MASK);
    }
}
