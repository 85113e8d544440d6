package hms.ops.peer;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.java.tuple.Tuple4;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * {@link Service} in Flink: instants are caught up when a reading comes, before it is counted, so that the watermark,
 * which is that of the slowest partition, decides nothing. A timer does it for services that fell silent, and only
 * while something could happen.
 */
final class SloFunction
        extends KeyedProcessFunction<String, Tuple4<String, Long, Long, Double>, Tuple2<String, String>> {
    private static final long serialVersionUID = 1;

    private final Slo slo;
    private transient Service service;
    private transient ValueState<long[]> state;

    SloFunction(Slo slo) {
        this.slo = slo;
    }

    @Override
    public void open(OpenContext context) {
        service = new Service(slo);
        state = getRuntimeContext()
                .getState(new ValueStateDescriptor<>(
                        "service", PrimitiveArrayTypeInfo.LONG_PRIMITIVE_ARRAY_TYPE_INFO));
    }

    @Override
    public void processElement(
            Tuple4<String, Long, Long, Double> reading, Context context, Collector<Tuple2<String, String>> out)
            throws Exception {
        long[] state = this.state.value();
        if (state == null) {
            state = service.start(reading.f1);
        }
        service.evaluate(state, reading.f1, event -> out.collect(Tuple2.of(reading.f0, event)));
        service.count(state, reading.f2, reading.f3);
        keep(state, service.stirs(state, reading.f3), context);
    }

    @Override
    public void onTimer(long time, OnTimerContext context, Collector<Tuple2<String, String>> out) throws Exception {
        long[] state = this.state.value();
        Service.disarm(state, time);
        service.evaluate(state, time, event -> out.collect(Tuple2.of(context.getCurrentKey(), event)));
        keep(state, true, context);
    }

    private void keep(long[] changed, boolean stirred, Context context) throws Exception {
        long wake = stirred ? service.wake(changed) : -1;
        if (Service.arm(changed, wake)) {
            context.timerService().registerEventTimeTimer(wake);
        }
        state.update(changed);
    }
}
