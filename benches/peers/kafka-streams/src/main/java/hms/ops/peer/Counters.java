package hms.ops.peer;

import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** What the forms that are not tuned keep of the readings of one step or one window. */
record Counters(int n, int over, int unrecovered) {
    static final Counters NONE = new Counters(0, 0, 0);
    static final Serde<Counters> SERDE = Serdes.serdeFrom(
            (topic, counters) -> counters == null ? null : counters.write(ByteBuffer.allocate(12)).array(),
            (topic, bytes) -> bytes == null ? null : read(ByteBuffer.wrap(bytes)));

    static Counters of(Slo slo, double value) {
        return new Counters(1, value > slo.threshold() ? 1 : 0, value > slo.recoverThreshold() ? 1 : 0);
    }

    Counters plus(Counters other) {
        return new Counters(n + other.n, over + other.over, unrecovered + other.unrecovered);
    }

    Counters minus(Counters other) {
        return new Counters(n - other.n, over - other.over, unrecovered - other.unrecovered);
    }

    ByteBuffer write(ByteBuffer to) {
        return to.putInt(n).putInt(over).putInt(unrecovered);
    }

    static Counters read(ByteBuffer from) {
        return new Counters(from.getInt(), from.getInt(), from.getInt());
    }
}
