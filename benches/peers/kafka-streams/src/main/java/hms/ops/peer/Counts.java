package hms.ops.peer;

/** What became of the readings, for whoever looks. */
final class Counts {
    private Counts() {}

    static void print(String task, long counted, long rejected) {
        System.err.println("task " + task + ": " + counted + " readings counted, " + rejected + " rejected");
    }
}
