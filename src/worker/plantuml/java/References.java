package clm.plantuml;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * References of diagram texts by a literal name that cannot be followed: finding one tells the author its line. {@link
 * Guard} refuses what is out of bounds, and learns what is asked for, whatever the name looks like.
 */
public final class References {
    private static final Pattern REFERENCE = Pattern.compile(
            "^[ \\t]*!include(?:url|sub|def|_many|_once)?[ \\t]+(?<include>[^<\\s].*)$"
                    + "|^[ \\t]*!theme[ \\t]+(?<theme>\\S+)[ \\t]+from[ \\t]+(?<from>[^<\\s].*)$"
                    + "|%(?:load_json|file_exists)\\([ \\t]*[\"'](?<data>[^\"'\\r\\n]+)"
                    + "|<img:?[ \\t]*(?:src=[\"']?)?(?<image>[^>{\"'\\s]+)"
                    + "|^[ \\t]*sprite[ \\t]+\\S+[ \\t]+(?<sprite>[^<\\s\\[]\\S*)[ \\t\\r]*$",
            Pattern.MULTILINE);
    /** Larger files are data, not text with references. */
    private static final long LARGEST_TEXT = 1 << 20;

    private final Path root;
    private final Path home;
    private final List<Problem> problems = new ArrayList<>();

    /** What is wrong with a reference. */
    public enum Kind {
        /** A picture that is not there; PlantUML draws a remark in its place. */
        MISSING_IMAGE,
        /** A file outside the course. */
        OUTSIDE,
        /** Something on the network. */
        NETWORK
    }

    /** A reference that cannot be followed. */
    public static final class Problem {
        public final Kind kind;
        /** The file that refers. */
        public final Path file;
        /** The line in it, counted from 1. */
        public final int line;
        /** What it refers to, as it says. */
        public final String name;

        Problem(Kind kind, Path file, int line, String name) {
            this.kind = kind;
            this.file = file;
            this.line = line;
            this.name = name;
        }
    }

    /** Looks through a diagram's text and through the files that it included. */
    public References(Path root, Path diagram, String text, Set<Path> included) {
        this.root = root;
        this.home = diagram.getParent();
        scan(text, diagram);
        included.forEach(this::scanFile);
    }

    /** References that cannot be followed. */
    public List<Problem> problems() {
        return problems;
    }

    private void scanFile(Path file) {
        try {
            if (Files.size(file) <= LARGEST_TEXT) {
                scan(new String(Files.readAllBytes(file), StandardCharsets.UTF_8), file);
            }
        } catch (IOException e) {
            // Gone since: clm notices, because the file is among those that were read.
        }
    }

    private void scan(String text, Path file) {
        Matcher matcher = REFERENCE.matcher(text);
        // Counted from one reference to the next: a text may have many of them, and all in one line.
        int line = 1;
        int counted = 0;
        boolean isComment = isComment(text, 0);
        while (matcher.find()) {
            for (; counted < matcher.start(); counted++) {
                if (text.charAt(counted) == '\n') {
                    line++;
                    isComment = isComment(text, counted + 1);
                }
            }
            String name = nameOf(matcher);
            boolean isComputed = name.indexOf('$') >= 0 || name.indexOf('%') >= 0;
            if (isComment || isComputed || name.startsWith("#") || name.startsWith("data:")) {
                continue;
            }
            if (name.contains("://")) {
                problems.add(new Problem(Kind.NETWORK, file, line, name));
            } else {
                lookUp(name, file, line, matcher.group("image") != null);
            }
        }
    }

    private static String nameOf(Matcher matcher) {
        if (matcher.group("theme") != null) {
            return matcher.group("from").stripTrailing() + "/puml-theme-" + matcher.group("theme") + ".puml";
        }
        for (String group : new String[] {"data", "image", "sprite"}) {
            if (matcher.group(group) != null) {
                return matcher.group(group);
            }
        }
        String include = matcher.group("include").stripTrailing().replace("\"", "");
        // `file!part` names a part of a file.
        int part = include.lastIndexOf('!');
        return part > 0 ? include.substring(0, part) : include;
    }

    /** Whether a line, which begins at an offset, is a comment. */
    private static boolean isComment(String text, int start) {
        int at = start;
        while (at < text.length() && text.charAt(at) != '\n' && Character.isWhitespace(text.charAt(at))) {
            at++;
        }
        return at < text.length() && text.charAt(at) == '\'';
    }

    /** The line of a character, counted from 1. */
    public static int lineAt(String text, int offset) {
        return 1 + (int) text.substring(0, offset).chars().filter(c -> c == '\n').count();
    }

    /** PlantUML looks beside the file with the reference first, then beside the diagram. */
    private void lookUp(String name, Path file, int line, boolean isImage) {
        Set<Path> candidates = new LinkedHashSet<>();
        try {
            candidates.add(file.getParent().resolve(name).normalize());
            candidates.add(home.resolve(name).normalize());
        } catch (InvalidPathException e) {
            return; // no file can have this name
        }
        boolean isBelowRoot = false;
        for (Path candidate : candidates) {
            if (Files.exists(candidate)) {
                if (!isInside(candidate)) {
                    problems.add(new Problem(Kind.OUTSIDE, file, line, name));
                }
                return;
            }
            isBelowRoot |= candidate.startsWith(root);
        }
        if (!isBelowRoot) {
            problems.add(new Problem(Kind.OUTSIDE, file, line, name));
        } else if (isImage) {
            problems.add(new Problem(Kind.MISSING_IMAGE, file, line, name));
        }
    }

    private boolean isInside(Path existing) {
        try {
            return existing.startsWith(root) && existing.toRealPath().startsWith(root);
        } catch (IOException e) {
            return false;
        }
    }
}
