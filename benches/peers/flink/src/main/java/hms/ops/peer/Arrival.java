package hms.ops.peer;

import java.util.Arrays;
import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.tuple.Tuple4;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** From records to (service, clock of its partition when it arrived, ts, value). Poison goes nowhere. */
final class Arrival implements KafkaRecordDeserializationSchema<Tuple4<String, Long, Long, Double>> {
    private static final long serialVersionUID = 1;

    private transient Reading reading;
    /** By partition; what is unknown after a restart is no later than the next record's stamp. */
    private transient long[] clocks;

    @Override
    public void deserialize(
            ConsumerRecord<byte[], byte[]> record, Collector<Tuple4<String, Long, Long, Double>> out) {
        if (reading == null) {
            reading = new Reading();
            clocks = new long[1];
        }
        long clock = clock(record.partition(), record.timestamp());
        if (reading.decode(record.value()) && reading.ts <= record.timestamp() + Slo.FUTURE_MS) {
            out.collect(Tuple4.of(reading.service(), clock, reading.ts, reading.value));
        }
    }

    private long clock(int partition, long stamp) {
        if (partition >= clocks.length) {
            clocks = Arrays.copyOf(clocks, partition + 1);
        }
        clocks[partition] = Math.max(clocks[partition], stamp);
        return clocks[partition];
    }

    @Override
    public TypeInformation<Tuple4<String, Long, Long, Double>> getProducedType() {
        return TypeInformation.of(new TypeHint<>() {});
    }
}
