package hms.ops.peer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** The hand-tuned form: {@link Partition} on the heap, its cuts in a store with a changelog, bytes in and out. */
public final class PapiProcessor implements Processor<byte[], byte[], byte[], byte[]> {
    /** Reads a partition of the input again, from an offset up to what is committed. */
    public interface Replay {
        void read(int partition, long from, Partition into);
    }

    private static final String STORE = "cuts";

    private final Slo slo;
    private final Replay replay;
    private ProcessorContext<byte[], byte[]> context;
    private Partition partition;
    /** Of the record that is being processed. */
    private long stamp;

    private PapiProcessor(Slo slo, Replay replay) {
        this.slo = slo;
        this.replay = replay;
    }

    /** With a store that keeps what is put beside the heap, or with one that is its changelog alone. */
    public static Topology topology(Slo slo, boolean keeps, Replay replay, String input, String output) {
        var bytes = Serdes.ByteArray();
        var supplier = keeps ? Stores.inMemoryKeyValueStore(STORE) : LogStore.supplier(STORE);
        var store = Stores.keyValueStoreBuilder(supplier, bytes, bytes);
        return new StreamsBuilder()
                .build()
                .addSource("readings", bytes.deserializer(), bytes.deserializer(), input)
                .addProcessor("slo", () -> new PapiProcessor(slo, replay), "readings")
                .addStateStore(store.withCachingDisabled(), "slo")
                .addSink("events", output, bytes.serializer(), bytes.serializer(), "slo");
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        KeyValueStore<byte[], byte[]> store = context.getStateStore(STORE);
        partition = new Partition(slo, this::emit, store::put);
        byte[] cut = store.get(Cuts.PARTITION);
        if (cut == null) {
            return;
        }
        partition.restoreClock(cut);
        try (KeyValueIterator<byte[], byte[]> all = store.all()) {
            while (all.hasNext()) {
                KeyValue<byte[], byte[]> entry = all.next();
                if (!Arrays.equals(entry.key, Cuts.PARTITION)) {
                    partition.restore(entry.key, entry.value);
                }
            }
        }
        partition.restored();
        replay.read(context.taskId().partition(), Cuts.offset(cut), partition);
        partition.replayed();
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        stamp = record.timestamp();
        partition.take(stamp, context.recordMetadata().orElseThrow().offset(), record.value());
    }

    private void emit(byte[] service, String event) {
        context.forward(new Record<>(service, event.getBytes(StandardCharsets.US_ASCII), stamp));
    }

    @Override
    public void close() {
        Counts.print(context.taskId().toString(), partition.counted, partition.rejected);
    }
}
