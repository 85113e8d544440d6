package hms.ops.peer;

import java.util.Arrays;

/** From a service's id to its number: an open hash table over bytes, so that a look-up makes no object. */
final class Names {
    private byte[][] names = new byte[16][];
    private int count;
    /** Number + 1, 0 for none. A power of two long, at most half full. */
    private int[] table = new int[32];

    int count() {
        return count;
    }

    byte[] name(int number) {
        return names[number];
    }

    /** The number of a name, a new one if it was never seen. */
    int find(byte[] bytes, int from, int to) {
        int place = hash(bytes, from, to) & table.length - 1;
        for (; table[place] != 0; place = place + 1 & table.length - 1) {
            byte[] name = names[table[place] - 1];
            if (Arrays.equals(name, 0, name.length, bytes, from, to)) {
                return table[place] - 1;
            }
        }
        if (count == names.length) {
            grow();
            return find(bytes, from, to);
        }
        names[count++] = Arrays.copyOfRange(bytes, from, to);
        table[place] = count;
        return count - 1;
    }

    private void grow() {
        names = Arrays.copyOf(names, 2 * names.length);
        table = new int[2 * names.length];
        for (int number = 0; number < count; number++) {
            int place = hash(names[number], 0, names[number].length) & table.length - 1;
            while (table[place] != 0) {
                place = place + 1 & table.length - 1;
            }
            table[place] = number + 1;
        }
    }

    private static int hash(byte[] bytes, int from, int to) {
        int hash = 1;
        for (int at = from; at < to; at++) {
            hash = 31 * hash + bytes[at];
        }
        return hash ^ hash >>> 15;
    }
}
