package clm.plantuml;

import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.Map;
import java.util.Set;

/**
 * Loads PlantUML so that it opens files through {@link Guard}.
 *
 * <p>In the few classes of PlantUML that open files, or ask whether they are there, the names of the standard classes that
 * open them are replaced by those of their guarded subclasses, and questions by those in {@link Lookups}. Classes that
 * start programs or read files in other ways are not loaded at all: no picture needs them.
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
            "javax/swing/ImageIcon", "clm/plantuml/Guard$Icon",
            "java/nio/file/Paths", "clm/plantuml/Lookups");

    /** The classes of PlantUML that open files: they create the guarded objects, but never expect one from others. */
    private static final Set<String> OPENING = Set.of(
            PLANTUML + "security.SFile",
            PLANTUML + "FileUtils",
            PLANTUML + "SourceFileReaderAbstract",
            PLANTUML + "preproc.spm.SpmChannel",
            PLANTUML + "nio.PathSystem",
            PLANTUML + "security.SURL");

    /** The questions about files, and about URLs, that are answered by the methods of {@link Lookups}. */
    private static final Set<String> ASKING = Set.of(
            "java/io/File.exists:()Z",
            "java/io/File.isFile:()Z",
            "java/io/File.isDirectory:()Z",
            "java/io/File.canRead:()Z",
            "java/io/File.getAbsolutePath:()Ljava/lang/String;",
            "java/io/File.getAbsoluteFile:()Ljava/io/File;",
            "java/io/File.getCanonicalPath:()Ljava/lang/String;",
            "java/io/File.getCanonicalFile:()Ljava/io/File;",
            "java/io/File.toPath:()Ljava/nio/file/Path;",
            "java/io/File.toURI:()Ljava/net/URI;",
            "java/net/URL.getUserInfo:()Ljava/lang/String;");
    private static final String ANSWERING = "clm/plantuml/Lookups";

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
            Set<String> asking = replaced.isEmpty() ? Set.of() : ASKING;
            byte[] bytes = ClassFile.replace(in.readAllBytes(), replaced, asking, ANSWERING);
            return defineClass(name, bytes, 0, bytes.length);
        } catch (IOException e) {
            throw new ClassNotFoundException(name, e);
        }
    }

}
