package hms.ops.peer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class ReadingTest {
    private static final String CANONICAL = "{\"name\":\"hms.ops.Reading\",\"type\":\"record\",\"fields\":["
            + "{\"name\":\"service\",\"type\":\"string\"},{\"name\":\"sensor\",\"type\":\"string\"},"
            + "{\"name\":\"ts\",\"type\":\"long\"},{\"name\":\"value\",\"type\":\"double\"},"
            + "{\"name\":\"attributes\",\"type\":{\"type\":\"map\",\"values\":\"string\"}}]}";

    @Test
    void theHeaderIsThatOfTheSchema() {
        long empty = 0xc15d213aa4d7a795L;
        long print = empty;
        for (byte next : CANONICAL.getBytes(StandardCharsets.UTF_8)) {
            long entry = (print ^ next) & 0xff;
            for (int bit = 0; bit < 8; bit++) {
                entry = entry >>> 1 ^ empty & -(entry & 1);
            }
            print = print >>> 8 ^ entry;
        }
        var header = ByteBuffer.allocate(10).order(ByteOrder.LITTLE_ENDIAN);
        header.put((byte) 0xc3).put((byte) 1).putLong(print);
        assertArrayEquals(header.array(), Reading.HEADER);
    }

    @Test
    void aReadingComesBackAndNoPartOfItDoes() {
        byte[] bytes = Log.encode("s000001", "queue_time_seconds", 1_700_000_000_123L, 2.5);
        var reading = new Reading();
        assertTrue(reading.decode(bytes));
        byte[] service = Arrays.copyOfRange(bytes, reading.serviceFrom, reading.serviceTo);
        assertEquals("s000001", new String(service, StandardCharsets.UTF_8));
        assertEquals(1_700_000_000_123L, reading.ts);
        assertEquals(2.5, reading.value);
        for (int length = 0; length < bytes.length; length++) {
            assertFalse(reading.decode(Arrays.copyOf(bytes, length)), "of length " + length);
        }
        assertFalse(reading.decode(Arrays.copyOf(bytes, bytes.length + 1)));
        assertFalse(reading.decode(null));
        assertFalse(reading.decode(Log.encode("s000001", "queue_time", 1, 1)));
        assertFalse(reading.decode(Log.encode("s000001", "queue_time_seconds", 1, Double.NaN)));
    }
}
