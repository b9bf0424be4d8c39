package clm.plantuml;

import java.io.File;
import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.FileReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import javax.swing.ImageIcon;

/**
 * Decides which files a diagram may read, and remembers those that it read.
 *
 * <p>PlantUML's own allow list compares texts: `..` and symbolic links lead out of it. Here the real path decides.
 * {@link GuardedLoader} makes PlantUML open files through the classes below.
 */
public final class Guard {
    private static final ThreadLocal<Guard> CURRENT = new ThreadLocal<>();

    private final Path root;
    private final Set<Path> read = new LinkedHashSet<>();
    private final List<String> refused = new ArrayList<>();

    private Guard(Path root) {
        this.root = root;
    }

    /** Watches what this thread opens from now on. */
    public static Guard begin(Path realRoot) {
        Guard guard = new Guard(realRoot);
        CURRENT.set(guard);
        return guard;
    }

    /** Ends the watch of this thread: then nothing at all may be opened. */
    public static void end() {
        CURRENT.remove();
    }

    /** The real paths of all files that were opened. */
    public Set<Path> filesRead() {
        return Collections.unmodifiableSet(read);
    }

    /** The files outside the course that were asked for, as the diagram names them. */
    public List<String> filesRefused() {
        return Collections.unmodifiableList(refused);
    }

    /** Lets a file pass, or throws. */
    static File check(File file) throws FileNotFoundException {
        Guard guard = CURRENT.get();
        if (guard == null) {
            throw new FileNotFoundException("no diagram is being rendered on this thread");
        }
        return guard.checkBelowRoot(file);
    }

    private File checkBelowRoot(File file) throws FileNotFoundException {
        Path real;
        try {
            real = file.toPath().toRealPath();
        } catch (IOException | RuntimeException e) {
            throw new FileNotFoundException(file.getPath());
        }
        if (!real.startsWith(root)) {
            refused.add(file.getPath());
            throw new FileNotFoundException(file.getPath() + " lies outside the course");
        }
        if (Files.isDirectory(real)) {
            throw new FileNotFoundException(file.getPath() + " is a directory");
        }
        read.add(real);
        return real.toFile();
    }

    /** Opens only what the guard lets pass. */
    public static final class Input extends FileInputStream {
        public Input(File file) throws FileNotFoundException {
            super(check(file));
        }

        public Input(String name) throws FileNotFoundException {
            super(check(new File(name)));
        }
    }

    /** Opens only what the guard lets pass. */
    public static final class Reader extends FileReader {
        public Reader(File file) throws FileNotFoundException {
            super(check(file));
        }

        public Reader(String name) throws FileNotFoundException {
            super(check(new File(name)));
        }
    }

    /** Loads only what the guard lets pass; anything else is an empty picture. */
    public static final class Icon extends ImageIcon {
        private static final long serialVersionUID = 1;

        public Icon(String name) {
            super(checkedName(name));
        }

        private static String checkedName(String name) {
            try {
                return check(new File(name)).getPath();
            } catch (FileNotFoundException e) {
                return "";
            }
        }
    }
}
