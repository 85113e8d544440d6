package hms.ops.peer;

import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/** `papi`, `papi-store`, `straightforward`, `dsl` or `dsl-rocksdb`, told by `ops bench` what to do; runs until it is ended. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws InterruptedException {
        Map<String, String> environment = System.getenv();
        Settings settings = Settings.of(environment);
        Slo slo = Slo.of(environment);
        String form = arguments.length == 1 ? arguments[0] : "";
        Topology topology =
                switch (form) {
                    case "papi", "papi-store" -> PapiProcessor.topology(
                            slo,
                            form.equals("papi-store"),
                            new Replayer(settings),
                            settings.input(),
                            settings.output());
                    case "straightforward" -> StraightforwardProcessor.topology(
                            slo, settings.input(), settings.output());
                    case "dsl", "dsl-rocksdb" -> DslForm.topology(slo, settings.input(), settings.output());
                    default -> throw new IllegalArgumentException("one of papi, papi-store, straightforward, dsl, dsl-rocksdb, not: " + form);
                };
        Properties properties = properties(settings);
        if (form.startsWith("dsl")) {
            DslForm.configure(properties, form.equals("dsl"));
            System.out.println("{\"note\": \"" + DslForm.NOTE + "\"}");
        }
        run(new KafkaStreams(topology, properties));
    }

    private static void run(KafkaStreams streams) throws InterruptedException {
        var failed = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            failed.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
        failed.await();
        Runtime.getRuntime().halt(1);
    }

    /** What all forms have in common. The numbers were tried: see ../README.md. */
    private static Properties properties(Settings settings) {
        var properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, settings.application());
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, settings.brokers());
        properties.put(StreamsConfig.STATE_DIR_CONFIG, settings.directory());
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, settings.threads());
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, settings.commitMs());
        properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        properties.put(StreamsConfig.ENABLE_METRICS_PUSH_CONFIG, false);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
        consumer(properties, ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        consumer(properties, ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 10_000);
        consumer(properties, ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, 4 << 20);
        consumer(properties, ConsumerConfig.FETCH_MAX_BYTES_CONFIG, 32 << 20);
        consumer(properties, ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG, 50);
        consumer(properties, ConsumerConfig.RECEIVE_BUFFER_CONFIG, 1 << 20);
        consumer(properties, ConsumerConfig.CHECK_CRCS_CONFIG, false);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 20);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        return properties;
    }

    private static void consumer(Properties properties, String name, Object value) {
        properties.put(StreamsConfig.consumerPrefix(name), value);
    }
}
