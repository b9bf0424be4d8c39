package clm.plantuml;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.Map;
import java.util.Set;

/**
 * Loads PlantUML so that it opens files through {@link Guard}.
 *
 * <p>In the few classes of PlantUML that open files, the names of the standard classes that do it are replaced by those
 * of their guarded subclasses. The names stand in the constant pool, which is all that has to be understood of a class
 * file. Classes that start programs or read files in other ways are not loaded at all: no picture needs them.
 */
final class GuardedLoader extends URLClassLoader {
    static {
        registerAsParallelCapable();
    }

    private static final String PLANTUML = "net.sourceforge.plantuml.";

    /** The class of ours that calls PlantUML, and so must be loaded beside it. */
    private static final String OURS = "clm.plantuml.DiagramRenderer";

    /** Standard classes and the guarded ones that take their place. */
    private static final Map<String, String> GUARDED = Map.of(
            "java/io/FileInputStream", "clm/plantuml/Guard$Input",
            "java/io/FileReader", "clm/plantuml/Guard$Reader",
            "javax/swing/ImageIcon", "clm/plantuml/Guard$Icon");

    /** The classes of PlantUML that open files: they create the guarded objects, but never expect one from others. */
    private static final Set<String> OPENING = Set.of(
            PLANTUML + "security.SFile",
            PLANTUML + "FileUtils",
            PLANTUML + "SourceFileReaderAbstract",
            PLANTUML + "preproc.spm.SpmChannel");

    /** LaTeX started as a program, and the archives of `!import`. */
    private static final Set<String> REFUSED = Set.of(
            PLANTUML + "tikz.LatexEngine",
            PLANTUML + "nio.InputFileZip",
            PLANTUML + "nio.NFolderZip");

    GuardedLoader(URL[] urls, ClassLoader parent) {
        super(urls, parent);
    }

    @Override
    protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
        if (!name.equals(OURS) && !name.startsWith(OURS + "$")) {
            return super.loadClass(name, resolve);
        }
        synchronized (getClassLoadingLock(name)) {
            Class<?> loaded = findLoadedClass(name);
            return loaded != null ? loaded : define(name, Map.of());
        }
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
        if (REFUSED.contains(name)) {
            throw new ClassNotFoundException(name + " is not available to diagrams of a course");
        }
        return OPENING.contains(name) ? define(name, GUARDED) : super.findClass(name);
    }

    private Class<?> define(String name, Map<String, String> replaced) throws ClassNotFoundException {
        try (InputStream in = getResourceAsStream(name.replace('.', '/') + ".class")) {
            if (in == null) {
                throw new ClassNotFoundException(name);
            }
            byte[] bytes = withNames(in.readAllBytes(), replaced);
            return defineClass(name, bytes, 0, bytes.length);
        } catch (IOException e) {
            throw new ClassNotFoundException(name, e);
        }
    }

    /** A class file with names in its constant pool replaced (Java Virtual Machine Specification, section 4.4). */
    private static byte[] withNames(byte[] bytes, Map<String, String> replaced) throws IOException {
        DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes));
        ByteArrayOutputStream result = new ByteArrayOutputStream(bytes.length + 64);
        DataOutputStream out = new DataOutputStream(result);
        out.writeLong(in.readLong()); // magic number and version
        int count = in.readUnsignedShort();
        out.writeShort(count);
        for (int i = 1; i < count; i++) {
            int tag = in.readUnsignedByte();
            out.writeByte(tag);
            switch (tag) {
                case 1: // text
                    String text = in.readUTF();
                    out.writeUTF(replaced.getOrDefault(text, text));
                    break;
                case 5: // long and double fill two places
                case 6:
                    out.writeLong(in.readLong());
                    i++;
                    break;
                case 7: // class, string, method type, module, package
                case 8:
                case 16:
                case 19:
                case 20:
                    out.writeShort(in.readUnsignedShort());
                    break;
                case 15: // method handle
                    out.writeByte(in.readUnsignedByte());
                    out.writeShort(in.readUnsignedShort());
                    break;
                default: // numbers of four bytes, and pairs of references
                    out.writeInt(in.readInt());
            }
        }
        in.transferTo(out);
        return result.toByteArray();
    }
}
