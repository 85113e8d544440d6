package hms.ops.peer;

import java.util.Map;

/** What `ops bench` tells a peer by its environment, apart from the {@link Slo}. */
public record Settings(
        String brokers, String input, String output, String application, String directory, int threads, int commitMs) {

    public static Settings of(Map<String, String> environment) {
        return new Settings(
                text(environment, "OPS_BENCH_BROKERS"),
                text(environment, "OPS_BENCH_INPUT"),
                text(environment, "OPS_BENCH_OUTPUT"),
                text(environment, "OPS_BENCH_APPLICATION"),
                text(environment, "OPS_BENCH_DIRECTORY"),
                Integer.parseInt(environment.getOrDefault("OPS_BENCH_THREADS", "2")),
                Integer.parseInt(environment.getOrDefault("OPS_BENCH_COMMIT_MS", "100")));
    }

    static String text(Map<String, String> environment, String name) {
        String value = environment.get(name);
        if (value == null || value.isEmpty()) {
            throw new IllegalArgumentException(name + " is not set; this program is started by `ops bench --peer`");
        }
        return value;
    }
}
