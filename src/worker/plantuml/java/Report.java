package clm.plantuml;

import java.io.File;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What the author is told about one diagram. */
public final class Report {
    private final Path root;
    private final String source;
    private final int startLine;
    private final List<Map<String, Object>> diagnostics = new ArrayList<>();

    /** A report on a file below the root, whose diagram starts at a line. */
    public Report(Path root, String source, int startLine) {
        this.root = root;
        this.source = source;
        this.startLine = startLine;
    }

    /** The diagnostics of the result. */
    public List<Map<String, Object>> diagnostics() {
        return diagnostics;
    }

    /** Whether there is no picture, or should be none. */
    public boolean hasErrors() {
        return diagnostics.stream().anyMatch(Report::isError);
    }

    /** An error about the diagram as a whole. */
    public void error(String message) {
        error(source, startLine, message);
    }

    /** An error at a place. */
    public void error(String file, Integer line, String message) {
        add("error", file, line, message, null);
    }

    /** A warning about the diagram as a whole. */
    public void warning(String message, String hint) {
        add("warning", source, startLine, message, hint);
    }

    /** Files that could not be read: what PlantUML says about the same line would only confuse. */
    public void unreadable(List<References.Problem> problems, List<String> refused) {
        Set<String> explained = new LinkedHashSet<>();
        for (References.Problem problem : problems) {
            String file = nameOf(problem.file);
            Integer line = problem.line;
            String severity = problem.kind == References.Kind.MISSING_IMAGE ? "warning" : "error";
            diagnostics.removeIf(each -> file.equals(each.get("file")) && line.equals(each.get("line")));
            String message = "`" + problem.name + "` " + whatIsWrong(problem.kind);
            add(severity, file, line, message, whatToDo(problem.kind));
            explained.add(problem.name);
        }
        for (String name : new LinkedHashSet<>(refused)) {
            if (explained.stream().noneMatch(name::endsWith)) {
                computed(name);
            }
        }
    }

    /** A path below the root as results name it. */
    public String nameOf(Path path) {
        return root.relativize(path).toString().replace(File.separatorChar, '/');
    }

    /** A name put together by macros stands in no line; PlantUML's error about the file has the line of its use. */
    private void computed(String name) {
        String folder = root.resolve(source).getParent() + File.separator;
        String written = name.startsWith(folder) ? name.substring(folder.length()) : name;
        String message = "`" + written + "` " + whatIsWrong(References.Kind.OUTSIDE);
        for (Map<String, Object> diagnostic : diagnostics) {
            if (isError(diagnostic) && !diagnostic.containsKey("hint")) {
                diagnostic.put("message", message);
                return;
            }
        }
        error(message);
    }

    private void add(String severity, String file, Integer line, String message, String hint) {
        diagnostics.add(Worker.fields(
                "severity", severity, "file", file, "line", line, "message", message, "hint", hint));
    }

    private static boolean isError(Map<String, Object> diagnostic) {
        return diagnostic.get("severity").equals("error");
    }

    private static String whatIsWrong(References.Kind kind) {
        switch (kind) {
            case MISSING_IMAGE:
                return "is not there";
            case NETWORK:
                return "is on the network, which diagrams may not use";
            default:
                return "lies outside the course, where diagrams may not read";
        }
    }

    private static String whatToDo(References.Kind kind) {
        switch (kind) {
            case MISSING_IMAGE:
                return null;
            case NETWORK:
                return "copy the file into the course, or use what comes with PlantUML, such as `!include <C4/C4_Context>`";
            default:
                return "copy the file into the course";
        }
    }
}
