package clm.plantuml;

import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.net.URL;
import java.nio.file.Path;

/**
 * What PlantUML asks of files and URLs: {@link GuardedLoader} puts these methods in the place of the standard ones of the
 * same names, so that {@link Guard} learns of every question, also of those that are answered with no.
 */
public final class Lookups {
    private Lookups() {}

    /** Whether there is a file. Directories do not count: a picture must depend on files alone. */
    public static boolean exists(File file) {
        return Guard.ask(file, File::exists);
    }

    /** Whether there is a regular file. */
    public static boolean isFile(File file) {
        return Guard.ask(file, File::isFile);
    }

    /** Whether there is a directory: the course's own is the only one that is known. */
    public static boolean isDirectory(File file) {
        return Guard.ask(file, File::isDirectory);
    }

    /** Whether a file can be read. */
    public static boolean canRead(File file) {
        return Guard.ask(file, File::canRead);
    }

    /** The absolute path of a file, whose relative one begins where the diagram lies. */
    public static String getAbsolutePath(File file) {
        return Guard.resolve(file).getAbsolutePath();
    }

    /** The absolute file, whose relative one begins where the diagram lies. */
    public static File getAbsoluteFile(File file) {
        return Guard.resolve(file).getAbsoluteFile();
    }

    /** The path without links, `.` and `..`. */
    public static String getCanonicalPath(File file) throws IOException {
        return Guard.resolve(file).getCanonicalPath();
    }

    /** The file without links, `.` and `..`. */
    public static File getCanonicalFile(File file) throws IOException {
        return Guard.resolve(file).getCanonicalFile();
    }

    /** The path of a file. */
    public static Path toPath(File file) {
        return Guard.resolve(file).toPath();
    }

    /** The address of a file. */
    public static URI toURI(File file) {
        return Guard.resolve(file).toURI();
    }

    /** A path: the directory in which PlantUML seems to run is that of the diagram. */
    public static Path get(String first, String... more) {
        return first.isEmpty() && more.length == 0 ? Guard.home() : Path.of(first, more);
    }

    /** The user in a URL, which PlantUML asks for before it uses one. */
    public static String getUserInfo(URL url) {
        Guard.refuse(url);
        return url.getUserInfo();
    }
}
