package hms.ops.peer;

import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * What most would write: windows of W that advance by the step, closed when the lateness is over, counted, judged. What
 * it cannot express is in ../README.md.
 */
public final class DslForm {
    static final String NOTE = "dsl: windows close by event time, not by append time; only windows with readings are"
            + " judged (no no_data)";

    private DslForm() {}

    public static Topology topology(Slo slo, String input, String output) {
        var text = Serdes.String();
        TimeWindows windows = TimeWindows.ofSizeAndGrace(
                        Duration.ofMillis(slo.windowMs()), Duration.ofMillis(slo.latenessMs()))
                .advanceBy(Duration.ofMillis(slo.stepMs()));
        var builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
                Stores.inMemoryKeyValueStore("machines"), text, Serdes.Integer()));
        builder.stream(input, Consumed.with(text, Sample.serde()).withTimestampExtractor(eventTime()))
                .filter((service, sample) -> service != null && sample != null)
                .groupByKey(Grouped.with(text, null))
                .windowedBy(windows)
                .emitStrategy(EmitStrategy.onWindowClose())
                .aggregate(
                        () -> Counters.NONE,
                        (service, sample, counters) -> counters.plus(Counters.of(slo, sample.value())),
                        Materialized.with(text, Counters.SERDE))
                .toStream()
                .process(() -> new Machines(slo), "machines")
                .to(output, Produced.with(text, text));
        return builder.build();
    }

    /** Its windows are closed at the start and open at the end, ours the other way: so all times are 1 ms less. */
    private static TimestampExtractor eventTime() {
        return (ConsumerRecord<Object, Object> record, long partitionTime) ->
                record.value() instanceof Sample sample ? sample.ts() - 1 : partitionTime;
    }

    /** What it needs beside what all forms have. */
    static void configure(Properties properties, boolean inMemory) {
        if (inMemory) {
            properties.put(
                    StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG,
                    BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class);
        }
        // An internal setting: closed windows are looked for once a second else, and those of the last second never.
        properties.put(
                StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_WINDOWED_AGGREGATION,
                properties.get(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG));
    }

    /** From verdicts, in the order of their instants, to events. */
    private static final class Machines extends ContextualProcessor<Windowed<String>, Counters, String, String> {
        private final Slo slo;
        private KeyValueStore<String, Integer> machines;

        Machines(Slo slo) {
            this.slo = slo;
        }

        @Override
        public void init(ProcessorContext<String, String> context) {
            super.init(context);
            machines = context.getStateStore("machines");
        }

        @Override
        public void process(Record<Windowed<String>, Counters> closed) {
            String service = closed.key().key();
            Counters window = closed.value();
            Integer stored = machines.get(service);
            int before = stored == null ? Slo.HEALTHY : stored;
            int after = slo.next(before, window.n(), window.over(), window.unrecovered(), true);
            if (after != before) {
                machines.put(service, after);
            }
            String event = slo.event(before, after, closed.key().window().end() / slo.stepMs());
            if (event != null) {
                context().forward(new Record<>(service, event, closed.timestamp()));
            }
        }
    }
}
