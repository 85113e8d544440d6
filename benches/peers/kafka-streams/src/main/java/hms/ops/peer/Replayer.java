package hms.ops.peer;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Reads the input again after a restart. Runs only then, before the first new record of a partition. */
final class Replayer implements PapiProcessor.Replay {
    private final Settings settings;

    Replayer(Settings settings) {
        this.settings = settings;
    }

    @Override
    public void read(int number, long from, Partition into) {
        var topic = new TopicPartition(settings.input(), number);
        // read_committed: the committed offset is then a stable one, no transaction of ours is open on it.
        Map<String, Object> config = Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, settings.brokers(),
                ConsumerConfig.GROUP_ID_CONFIG, settings.application(),
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "none",
                ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(config, bytes, bytes)) {
            OffsetAndMetadata committed = consumer.committed(Set.of(topic)).get(topic);
            if (committed == null) {
                throw new IllegalStateException("a cut of partition " + number + " without a committed offset");
            }
            consumer.assign(List.of(topic));
            consumer.seek(topic, from);
            while (consumer.position(topic) < committed.offset()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    if (record.offset() < committed.offset()) {
                        into.take(record.timestamp(), record.offset(), record.value());
                    }
                }
            }
        }
    }
}
