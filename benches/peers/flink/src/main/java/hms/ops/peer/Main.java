package hms.ops.peer;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.java.tuple.Tuple4;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.kafka.clients.producer.ProducerRecord;

/** The job in Flink, a whole cluster in this process; told by `ops bench` what to do; runs until it is ended. */
public final class Main {
    /** Flink publishes when a checkpoint is complete. */
    private static final String CHECKPOINT_MS = "1000";

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        Map<String, String> environment = System.getenv();
        Settings settings = Settings.of(environment);
        long checkpointMs = Long.parseLong(environment.getOrDefault("OPS_PEER_CHECKPOINT_MS", CHECKPOINT_MS));
        var job = StreamExecutionEnvironment.createLocalEnvironment(settings.threads(), configuration(settings));
        job.getConfig().enableObjectReuse();
        job.enableCheckpointing(checkpointMs, CheckpointingMode.EXACTLY_ONCE);
        var watermarks = WatermarkStrategy.<Tuple4<String, Long, Long, Double>>
                forMonotonousTimestamps();
        job.fromSource(source(settings), watermarks, "readings")
                .keyBy(reading -> reading.f0)
                .process(new SloFunction(Slo.of(environment)))
                .sinkTo(sink(settings));
        System.out.println("{\"note\": \"flink: exactly once, published at checkpoints, every " + checkpointMs + " ms\"}");
        JobClient client = job.executeAsync(settings.application());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(client, settings)));
        client.getJobExecutionResult().get();
    }

    /** What a last checkpoint holds is published before the end: offsets may be committed a little earlier. */
    private static void stop(JobClient client, Settings settings) {
        try {
            client.stopWithSavepoint(false, "file://" + settings.directory(), SavepointFormatType.NATIVE)
                    .get(15, TimeUnit.SECONDS);
        } catch (Exception error) {
            System.err.println("the job did not stop: " + error);
        }
    }

    private static Configuration configuration(Settings settings) {
        var configuration = new Configuration();
        configuration.set(StateBackendOptions.STATE_BACKEND, "hashmap");
        configuration.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        configuration.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, "file://" + settings.directory());
        configuration.set(RestartStrategyOptions.RESTART_STRATEGY, "none");
        // Off-heap memory that nothing here uses.
        configuration.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(1));
        configuration.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(64));
        configuration.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(64));
        return configuration;
    }

    private static KafkaSource<Tuple4<String, Long, Long, Double>> source(
            Settings settings) {
        return KafkaSource.<Tuple4<String, Long, Long, Double>>builder()
                .setBootstrapServers(settings.brokers())
                .setTopics(settings.input())
                .setGroupId(settings.application())
                .setStartingOffsets(OffsetsInitializer.committedOffsets(OffsetResetStrategy.EARLIEST))
                .setDeserializer(new Arrival())
                .setProperty("max.poll.records", "10000")
                .setProperty("max.partition.fetch.bytes", String.valueOf(4 << 20))
                .setProperty("receive.buffer.bytes", String.valueOf(1 << 20))
                .setProperty("check.crcs", "false")
                .build();
    }

    private static KafkaSink<Tuple2<String, String>> sink(Settings settings) {
        String output = settings.output();
        KafkaRecordSerializationSchema<Tuple2<String, String>> write = (event, context, stamp) -> new ProducerRecord<>(
                output, event.f0.getBytes(StandardCharsets.UTF_8), event.f1.getBytes(StandardCharsets.UTF_8));
        return KafkaSink.<Tuple2<String, String>>builder()
                .setBootstrapServers(settings.brokers())
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(settings.application())
                .setProperty("transaction.timeout.ms", String.valueOf(Duration.ofMinutes(1).toMillis()))
                .setRecordSerializer(write)
                .build();
    }
}
