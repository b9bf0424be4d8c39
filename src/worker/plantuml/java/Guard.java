package clm.plantuml;

import java.io.File;
import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.FileReader;
import java.io.IOException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Predicate;
import javax.swing.ImageIcon;

/**
 * Decides which files a diagram may read, and remembers those that it read or asked for.
 *
 * <p>PlantUML's own allow list compares texts: `..` and symbolic links lead out of it. Here the real path decides.
 * {@link GuardedLoader} makes PlantUML open files through the classes below.
 */
public final class Guard {
    private static final ThreadLocal<Guard> CURRENT = new ThreadLocal<>();

    /** PlantUML looks for its own style sheet under this name before it takes the one that it brings along. */
    private static final String STANDARD_SKIN = "plantuml.skin";

    /** Where PlantUML looks besides, without having been told by a diagram. */
    private static final Set<String> OWN =
            Set.of(System.getProperty("java.class.path").split(File.pathSeparator));

    private final Path root;
    private final Path home;
    private final Consumer<Path> told;
    private final Set<Path> read = new LinkedHashSet<>();
    private final Set<Path> lookedUp = new LinkedHashSet<>();
    private final Set<String> named = new LinkedHashSet<>();
    private final Set<String> refused = new LinkedHashSet<>();
    private final Set<String> urls = new LinkedHashSet<>();

    private Guard(Path root, Path home, Consumer<Path> told) {
        this.root = root;
        this.home = home;
        this.told = told;
    }

    /** Watches what this thread opens and asks for from now on, for a diagram in a directory, and tells it. */
    public static Guard begin(Path realRoot, Path home, Consumer<Path> told) {
        Guard guard = new Guard(realRoot, home, told);
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

    /** All files below the root that were asked for, whether they are there or not. */
    public Set<Path> filesLookedUp() {
        return Collections.unmodifiableSet(lookedUp);
    }

    /** The files outside the course that were asked for, as the diagram names them. */
    public Set<String> filesRefused() {
        return Collections.unmodifiableSet(refused);
    }

    /** The URLs that were asked for. */
    public Set<String> urlsRefused() {
        return Collections.unmodifiableSet(urls);
    }

    /** Whether PlantUML came upon a name that ends in this text: not every reference of a diagram is followed. */
    public boolean hasSeen(String name) {
        return urls.contains(name) || named.stream().anyMatch(each -> each.endsWith(name));
    }

    /** Lets a file pass, or throws. */
    static File check(File file) throws FileNotFoundException {
        Guard guard = CURRENT.get();
        if (guard == null) {
            throw new FileNotFoundException("no diagram is being rendered on this thread");
        }
        return guard.checkBelowRoot(resolve(file));
    }

    /** The answer to a question about a file: no, if the diagram may not know. */
    static boolean ask(File file, Predicate<File> question) {
        Guard guard = CURRENT.get();
        return guard == null ? question.test(file) : guard.answer(resolve(file), question);
    }

    /** The file that a name stands for: a relative one is meant from the directory of the diagram. */
    static File resolve(File file) {
        Guard guard = CURRENT.get();
        if (guard == null) {
            return file;
        }
        File resolved = file.isAbsolute() ? file : new File(guard.home.toFile(), file.getPath());
        guard.named.add(resolved.getPath());
        if (!resolved.getPath().startsWith(guard.root.toString()) && !OWN.contains(resolved.getPath())) {
            guard.refused.add(resolved.getPath());
        }
        return resolved;
    }

    /** The directory of the diagram. */
    static Path home() {
        Guard guard = CURRENT.get();
        return guard == null ? Path.of("") : guard.home;
    }

    /** Remembers a URL, which is never opened. */
    static void refuse(URL url) {
        Guard guard = CURRENT.get();
        if (guard != null) {
            guard.urls.add(url.toString());
        }
    }

    private File checkBelowRoot(File file) throws FileNotFoundException {
        Path real = realPathOf(file);
        if (real == null) {
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

    private boolean answer(File file, Predicate<File> question) {
        if (file.getName().equals(STANDARD_SKIN)) {
            return false;
        }
        Path real = realPathOf(file);
        if (root.equals(real)) {
            return question.test(file);
        }
        if (real == null && !file.toPath().normalize().startsWith(root)) {
            refused.add(file.getPath());
        }
        if (real == null || Files.isDirectory(real)) {
            return false;
        }
        if (!real.startsWith(root)) {
            if (file.getPath().startsWith(root.toString())) {
                refused.add(file.getPath());
            }
            return false;
        }
        return question.test(real.toFile());
    }

    /** Where a file really is, or null if it is not there. Either way a picture depends on it. */
    private Path realPathOf(File file) {
        try {
            Path place = placeOf(file.toPath());
            note(place);
            // As it is named, too: a directory on the way may be a link, which may lead elsewhere another time.
            note(file.toPath().normalize());
        } catch (RuntimeException e) {
            return null; // no file can have this name
        }
        try {
            Path real = file.toPath().toRealPath();
            note(real);
            return real;
        } catch (IOException e) {
            return null;
        }
    }

    private void note(Path path) {
        if (path.startsWith(root) && !path.equals(root) && lookedUp.add(path)) {
            told.accept(path);
        }
    }

    /** The path of a file, without links as far as its directories are there. The file itself may be a link. */
    private static Path placeOf(Path path) {
        for (Path known = path.getParent(); known != null; known = known.getParent()) {
            try {
                return known.toRealPath().resolve(known.relativize(path)).normalize();
            } catch (IOException e) {
                // Neither this directory nor what is in it is there.
            }
        }
        return path.normalize();
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
