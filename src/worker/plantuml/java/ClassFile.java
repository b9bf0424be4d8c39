package clm.plantuml;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/**
 * A class file in which names of classes, and calls of methods, are replaced (Java Virtual Machine Specification,
 * chapter 4).
 *
 * <p>A name stands in the constant pool. The call of a method of an object becomes the call of a static method that takes
 * the object as its first argument: both instructions have the same length and the same effect on the stack, so that
 * nothing else in the method changes.
 */
final class ClassFile {
    private static final int UTF8 = 1;
    private static final int CLASS = 7;
    private static final int METHOD = 10;
    private static final int NAME_AND_TYPE = 12;
    private static final int INVOKEVIRTUAL = 0xb6;
    private static final int INVOKESTATIC = 0xb8;

    private final DataInputStream in;
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final DataOutputStream out = new DataOutputStream(bytes);
    private String[] texts;
    /** The two references of an entry: for a class, its name; for a method, its class, and its name and type. */
    private int[] first;
    private int[] second;
    private boolean[] isMethod;
    /** The static methods that take the place of methods, by their places in the pool. */
    private final Map<Integer, Integer> statics = new HashMap<>();

    private ClassFile(byte[] original) {
        this.in = new DataInputStream(new ByteArrayInputStream(original));
    }

    /**
     * The class file with other names, and with calls of {@code class.method:type} replaced by calls of the static
     * methods of the same names in another class.
     */
    static byte[] replace(byte[] original, Map<String, String> names, Set<String> calls, String target)
            throws IOException {
        ClassFile file = new ClassFile(original);
        file.out.writeLong(file.in.readLong()); // magic number and version
        file.pool(names, calls, target);
        file.out.writeShort(file.in.readUnsignedShort()); // access flags
        file.out.writeInt(file.in.readInt()); // this class and its superclass
        file.copyShorts(file.copyCount()); // interfaces
        file.members(false);
        file.members(true);
        file.in.transferTo(file.out);
        return file.bytes.toByteArray();
    }

    private void pool(Map<String, String> names, Set<String> calls, String target) throws IOException {
        int count = in.readUnsignedShort();
        texts = new String[count];
        first = new int[count];
        second = new int[count];
        isMethod = new boolean[count];
        ByteArrayOutputStream entries = new ByteArrayOutputStream();
        DataOutputStream pool = new DataOutputStream(entries);
        for (int i = 1; i < count; i++) {
            int tag = in.readUnsignedByte();
            pool.writeByte(tag);
            switch (tag) {
                case UTF8:
                    texts[i] = in.readUTF();
                    pool.writeUTF(names.getOrDefault(texts[i], texts[i]));
                    break;
                case 5: // long and double fill two places
                case 6:
                    pool.writeLong(in.readLong());
                    i++;
                    break;
                case CLASS: // also string, method type, module, package
                case 8:
                case 16:
                case 19:
                case 20:
                    first[i] = in.readUnsignedShort();
                    pool.writeShort(first[i]);
                    break;
                case 15: // method handle
                    pool.writeByte(in.readUnsignedByte());
                    pool.writeShort(in.readUnsignedShort());
                    break;
                case 3: // integer, float
                case 4:
                    pool.writeInt(in.readInt());
                    break;
                default: // pairs of references
                    first[i] = in.readUnsignedShort();
                    second[i] = in.readUnsignedShort();
                    isMethod[i] = tag == METHOD;
                    pool.writeShort(first[i]);
                    pool.writeShort(second[i]);
            }
        }
        int next = addStatics(pool, count, calls, target);
        out.writeShort(next);
        entries.writeTo(out);
    }

    /** Appends the static methods to the pool; gives the number of places. */
    private int addStatics(DataOutputStream pool, int count, Set<String> calls, String target) throws IOException {
        int next = count;
        int owner = 0;
        for (int i = 1; i < count; i++) {
            if (!isMethod[i]) {
                continue;
            }
            String of = texts[first[first[i]]];
            int name = first[second[i]];
            String type = texts[second[second[i]]];
            if (!calls.contains(of + "." + texts[name] + ":" + type)) {
                continue;
            }
            if (owner == 0) {
                pool.writeByte(UTF8);
                pool.writeUTF(target);
                pool.writeByte(CLASS);
                pool.writeShort(next);
                owner = next + 1;
                next += 2;
            }
            pool.writeByte(UTF8);
            pool.writeUTF("(L" + of + ";" + type.substring(1));
            pool.writeByte(NAME_AND_TYPE);
            pool.writeShort(name);
            pool.writeShort(next);
            pool.writeByte(METHOD);
            pool.writeShort(owner);
            pool.writeShort(next + 1);
            statics.put(i, next + 2);
            next += 3;
        }
        return next;
    }

    private int copyCount() throws IOException {
        int count = in.readUnsignedShort();
        out.writeShort(count);
        return count;
    }

    private void copyShorts(int count) throws IOException {
        for (int i = 0; i < count; i++) {
            out.writeShort(in.readUnsignedShort());
        }
    }

    /** Fields, or methods. */
    private void members(boolean areMethods) throws IOException {
        int count = copyCount();
        for (int i = 0; i < count; i++) {
            copyShorts(3); // access flags, name, type
            int attributes = copyCount();
            for (int j = 0; j < attributes; j++) {
                int name = in.readUnsignedShort();
                byte[] content = new byte[in.readInt()];
                in.readFully(content);
                if (areMethods && "Code".equals(texts[name])) {
                    replaceCalls(content);
                }
                out.writeShort(name);
                out.writeInt(content.length);
                out.write(content);
            }
        }
    }

    /** Replaces the calls in the code of a method, which begins after the sizes of its stack, its variables and itself. */
    private void replaceCalls(byte[] attribute) {
        int start = 8;
        int end = start + number(attribute, 4);
        for (int at = start; at < end; at += lengthOf(attribute, at, start)) {
            if ((attribute[at] & 0xff) != INVOKEVIRTUAL) {
                continue;
            }
            Integer replacement = statics.get((attribute[at + 1] & 0xff) << 8 | attribute[at + 2] & 0xff);
            if (replacement != null) {
                attribute[at] = (byte) INVOKESTATIC;
                attribute[at + 1] = (byte) (replacement >> 8);
                attribute[at + 2] = (byte) (int) replacement;
            }
        }
    }

    private static int number(byte[] bytes, int at) {
        return bytes[at] << 24 | (bytes[at + 1] & 0xff) << 16 | (bytes[at + 2] & 0xff) << 8 | bytes[at + 3] & 0xff;
    }

    /** The length of an instruction with its operands (section 6.5). */
    private static int lengthOf(byte[] code, int at, int start) {
        int instruction = code[at] & 0xff;
        if (instruction == 0xaa || instruction == 0xab) { // tableswitch, lookupswitch: aligned, of variable length
            int operands = at + 1 + (3 - (at - start) % 4);
            return instruction == 0xaa
                    ? operands + 12 + 4 * (number(code, operands + 8) - number(code, operands + 4) + 1) - at
                    : operands + 8 + 8 * number(code, operands + 4) - at;
        }
        if (instruction == 0xc4) { // wide
            return (code[at + 1] & 0xff) == 0x84 ? 6 : 4;
        }
        if (instruction == 0xb9 || instruction == 0xba || instruction == 0xc8 || instruction == 0xc9) {
            return 5;
        }
        if (instruction == 0xc5) { // multianewarray
            return 4;
        }
        boolean hasByte = instruction == 0x10 || instruction == 0x12
                || instruction >= 0x15 && instruction <= 0x19
                || instruction >= 0x36 && instruction <= 0x3a
                || instruction == 0xa9 || instruction == 0xbc;
        boolean hasShort = instruction == 0x11 || instruction == 0x13 || instruction == 0x14 || instruction == 0x84
                || instruction >= 0x99 && instruction <= 0xa8
                || instruction >= 0xb2 && instruction <= 0xb8
                || instruction == 0xbb || instruction == 0xbd || instruction == 0xc0 || instruction == 0xc1
                || instruction == 0xc6 || instruction == 0xc7;
        return hasByte ? 2 : hasShort ? 3 : 1;
    }
}
