package hms.ops.peer;

import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** A reading as an object, without its names: the record's key is the service. */
record Sample(long ts, double value) {
    /** Poison becomes null. Nothing is ever written by it. */
    static Serde<Sample> serde() {
        var reading = ThreadLocal.withInitial(Reading::new);
        Deserializer<Sample> read = (topic, bytes) -> {
            Reading decoded = reading.get();
            return decoded.decode(bytes) ? new Sample(decoded.ts, decoded.value) : null;
        };
        return Serdes.serdeFrom(
                (topic, sample) -> {
                    throw new UnsupportedOperationException();
                },
                read);
    }
}
