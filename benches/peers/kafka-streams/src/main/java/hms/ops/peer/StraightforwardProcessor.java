package hms.ops.peer;

import java.nio.ByteBuffer;
import java.time.Duration;
import org.apache.kafka.common.serialization.Serde;
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
import org.apache.kafka.streams.state.WindowStore;

/**
 * What a good engineer writes on the first afternoon: the counters of each step in a window store, read and written for
 * each reading; each service's sum and machine in a second one, moved on at each instant.
 */
public final class StraightforwardProcessor implements Processor<String, Sample, String, String> {
    /** A service's window as it stood at the last instant, and its machine. */
    record Service(Counters sum, long latest, int machine) {
        static final Service NEW = new Service(Counters.NONE, Long.MIN_VALUE, Slo.HEALTHY);
        static final Serde<Service> SERDE = Serdes.serdeFrom(
                (topic, service) -> service == null ? null : service.write(),
                (topic, bytes) -> bytes == null ? null : read(ByteBuffer.wrap(bytes)));

        byte[] write() {
            return sum.write(ByteBuffer.allocate(24)).putLong(latest).putInt(machine).array();
        }

        static Service read(ByteBuffer from) {
            return new Service(Counters.read(from), from.getLong(), from.getInt());
        }
    }

    private final Slo slo;
    private ProcessorContext<String, String> context;
    private WindowStore<String, Counters> steps;
    private KeyValueStore<String, Service> services;
    /** Under "next" the first instant that was not evaluated. */
    private KeyValueStore<String, Long> instants;

    private Long next;
    private long counted;
    private long rejected;

    private StraightforwardProcessor(Slo slo) {
        this.slo = slo;
    }

    public static Topology topology(Slo slo, String input, String output) {
        var text = Serdes.String();
        Duration step = Duration.ofMillis(slo.stepMs());
        // The retention counts from the newest step, which may be ahead of the instant by the lateness and the future.
        Duration kept = Duration.ofMillis(slo.windowMs() + slo.latenessMs() + Slo.FUTURE_MS + 2 * slo.stepMs());
        var steps = Stores.windowStoreBuilder(
                Stores.inMemoryWindowStore("steps", kept, step, false), text, Counters.SERDE);
        var services = Stores.keyValueStoreBuilder(
                Stores.inMemoryKeyValueStore("services"), text, Service.SERDE);
        var instants = Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("instants"), text, Serdes.Long());
        return new StreamsBuilder()
                .build()
                .addSource("readings", text.deserializer(), Sample.serde().deserializer(), input)
                .addProcessor("slo", () -> new StraightforwardProcessor(slo), "readings")
                .addStateStore(steps, "slo")
                .addStateStore(services, "slo")
                .addStateStore(instants, "slo")
                .addSink("events", output, text.serializer(), text.serializer(), "slo");
    }

    @Override
    public void init(ProcessorContext<String, String> context) {
        this.context = context;
        steps = context.getStateStore("steps");
        services = context.getStateStore("services");
        instants = context.getStateStore("instants");
        next = instants.get("next");
    }

    @Override
    public void process(Record<String, Sample> record) {
        long stamp = record.timestamp();
        if (next == null) {
            next = slo.firstNotDue(stamp);
        }
        if (slo.dueAt(next) <= stamp) {
            for (; slo.dueAt(next) <= stamp; next++) {
                evaluate(next, stamp);
            }
            instants.put("next", next);
        }
        if (record.key() == null || record.value() == null) {
            rejected++;
            return;
        }
        count(record.key(), record.value(), stamp);
    }

    private void count(String id, Sample sample, long stamp) {
        long step = slo.stepOf(sample.ts());
        if (sample.ts() > stamp + Slo.FUTURE_MS || step < next - slo.windowSteps()) {
            rejected++;
            return;
        }
        Counters one = Counters.of(slo, sample.value());
        Counters before = steps.fetch(id, step * slo.stepMs());
        steps.put(id, before == null ? one : before.plus(one), step * slo.stepMs());
        Service service = services.get(id);
        if (service == null) {
            service = Service.NEW;
            services.put(id, service);
        }
        if (step < next) {
            // Its instant was evaluated, so it is in no step that will enter the window.
            long latest = Math.max(service.latest(), step);
            services.put(id, new Service(service.sum().plus(one), latest, service.machine()));
        }
        counted++;
    }

    private void evaluate(long instant, long stamp) {
        try (KeyValueIterator<String, Service> all = services.all()) {
            while (all.hasNext()) {
                KeyValue<String, Service> entry = all.next();
                Service before = entry.value;
                Service after = move(entry.key, before, instant);
                if (!after.equals(before)) {
                    services.put(entry.key, after);
                }
                String event = slo.event(before.machine(), after.machine(), instant);
                if (event != null) {
                    context.forward(new Record<>(entry.key, event, stamp));
                }
            }
        }
    }

    private Service move(String id, Service service, long instant) {
        Counters enter = steps.fetch(id, instant * slo.stepMs());
        Counters leave = steps.fetch(id, (instant - slo.windowSteps()) * slo.stepMs());
        Counters sum = service.sum();
        sum = enter == null ? sum : sum.plus(enter);
        sum = leave == null ? sum : sum.minus(leave);
        long latest = enter == null ? service.latest() : instant;
        boolean fresh = latest > instant - slo.silenceMs() / slo.stepMs();
        int machine = slo.next(service.machine(), sum.n(), sum.over(), sum.unrecovered(), fresh);
        return new Service(sum, latest, machine);
    }

    @Override
    public void close() {
        Counts.print(context.taskId().toString(), counted, rejected);
    }
}
