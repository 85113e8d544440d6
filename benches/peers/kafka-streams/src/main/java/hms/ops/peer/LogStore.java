package hms.ops.peer;

import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.query.Position;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * A store that is nothing but its changelog. What is put is logged by the layer above; the heap has it already, so it is
 * not kept a second time. After a restart it holds what was restored, until that is read once.
 */
final class LogStore implements KeyValueStore<Bytes, byte[]> {
    private final String name;
    private Map<Bytes, byte[]> restored = new HashMap<>();
    private boolean open;

    private LogStore(String name) {
        this.name = name;
    }

    static KeyValueBytesStoreSupplier supplier(String name) {
        return new KeyValueBytesStoreSupplier() {
            @Override
            public String name() {
                return name;
            }

            @Override
            public KeyValueStore<Bytes, byte[]> get() {
                return new LogStore(name);
            }

            @Override
            public String metricsScope() {
                return "log";
            }
        };
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public void init(StateStoreContext context, StateStore root) {
        context.register(root, (key, value) -> restored.put(Bytes.wrap(key), value));
        open = true;
    }

    @Override
    public void put(Bytes key, byte[] value) {}

    @Override
    public void putAll(List<KeyValue<Bytes, byte[]>> entries) {}

    /** What was restored; only once, and before the first put. */
    @Override
    public KeyValueIterator<Bytes, byte[]> all() {
        var entries = restored.entrySet().iterator();
        restored = new HashMap<>();
        return new Once(entries);
    }

    @Override
    public byte[] get(Bytes key) {
        return restored.get(key);
    }

    @Override
    public byte[] putIfAbsent(Bytes key, byte[] value) {
        throw new UnsupportedOperationException();
    }

    @Override
    public byte[] delete(Bytes key) {
        throw new UnsupportedOperationException();
    }

    @Override
    public KeyValueIterator<Bytes, byte[]> range(Bytes from, Bytes to) {
        throw new UnsupportedOperationException();
    }

    @Override
    public long approximateNumEntries() {
        return restored.size();
    }

    @Override
    public Position getPosition() {
        return Position.emptyPosition();
    }

    @Override
    public boolean persistent() {
        return false;
    }

    @Override
    public boolean isOpen() {
        return open;
    }

    @Override
    public void close() {
        open = false;
        restored = new HashMap<>();
    }

    private record Once(Iterator<Map.Entry<Bytes, byte[]>> entries) implements KeyValueIterator<Bytes, byte[]> {
        @Override
        public boolean hasNext() {
            return entries.hasNext();
        }

        @Override
        public KeyValue<Bytes, byte[]> next() {
            var entry = entries.next();
            return KeyValue.pair(entry.getKey(), entry.getValue());
        }

        @Override
        public Bytes peekNextKey() {
            throw new UnsupportedOperationException();
        }

        @Override
        public void close() {}
    }
}
