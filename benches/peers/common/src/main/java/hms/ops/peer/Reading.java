package hms.ops.peer;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * One value of the input, decoded in place: Avro's single-object encoding of `schemas/reading.avsc`. One object is used
 * again and again, nothing is allocated and names stay where they are.
 */
public final class Reading {
    /** C3 01, then CRC-64-AVRO of the schema's canonical form. */
    static final byte[] HEADER = {
        (byte) 0xc3, 0x01, (byte) 0xa4, (byte) 0xcd, 0x54, (byte) 0x8e, 0x3f, (byte) 0x98, (byte) 0xb6, (byte) 0xd8
    };

    private static final byte[] SENSOR = "queue_time_seconds".getBytes(StandardCharsets.US_ASCII);
    private static final VarHandle LONG =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private byte[] bytes;
    private int at;
    private boolean whole;

    /** Where the service's id is in the value. */
    public int serviceFrom;

    public int serviceTo;
    public long ts;
    public double value;

    /** The value that was read last. */
    public byte[] bytes() {
        return bytes;
    }

    /** Its service, as a new text. */
    public String service() {
        return new String(bytes, serviceFrom, serviceTo - serviceFrom, StandardCharsets.UTF_8);
    }

    /** Reads a value; false if it is not a reading of the one sensor that services have. */
    public boolean decode(byte[] value) {
        if (value == null || value.length < HEADER.length || !Arrays.equals(value, 0, 10, HEADER, 0, 10)) {
            return false;
        }
        bytes = value;
        at = HEADER.length;
        whole = true;
        int length = length();
        serviceFrom = at;
        serviceTo = at += length;
        length = length();
        boolean ours = whole && Arrays.equals(value, at, at + length, SENSOR, 0, SENSOR.length);
        at += length;
        ts = varint();
        this.value = real();
        skipAttributes();
        return whole && at == value.length && ours && ts > 0 && serviceTo > serviceFrom && Double.isFinite(this.value);
    }

    private void skipAttributes() {
        for (long count = varint(); whole && count != 0; count = varint()) {
            if (count < 0) {
                // The block's size in bytes follows; it is walked all the same.
                count = -count;
                varint();
            }
            for (long left = 2 * count; whole && left > 0; left--) {
                int length = length();
                at += length;
            }
        }
    }

    /** A length that fits into what is left. */
    private int length() {
        long length = varint();
        if (length < 0 || length > bytes.length - at) {
            whole = false;
            return 0;
        }
        return (int) length;
    }

    private long varint() {
        long raw = 0;
        for (int shift = 0; shift < 64 && at < bytes.length; shift += 7) {
            byte next = bytes[at++];
            raw |= (long) (next & 0x7f) << shift;
            if (next >= 0) {
                return raw >>> 1 ^ -(raw & 1);
            }
        }
        whole = false;
        return 0;
    }

    private double real() {
        if (bytes.length - at < 8) {
            whole = false;
            return 0;
        }
        at += 8;
        return Double.longBitsToDouble((long) LONG.get(bytes, at - 8));
    }
}
