package clm.plantuml;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** What the author is told about one diagram. */
public final class Report {
    private static final String SYNTAX_ERROR = "Syntax Error";
    private static final String CANNOT_INCLUDE = "cannot include ";
    private static final String INCLUDE_HINT = "includes are looked for beside the diagram and must lie in the course";
    private static final String THEME_HINT =
            "`!theme NAME from DIRECTORY` reads `DIRECTORY/puml-theme-NAME.puml`;"
                    + " without `from`, NAME must be a theme that comes with PlantUML";

    private final Path root;
    private final String source;
    private final int startLine;
    private final List<Map<String, Object>> diagnostics = new ArrayList<>();
    /** Those that PlantUML gave the words for. */
    private final Set<Map<String, Object>> ofPlantuml = Collections.newSetFromMap(new IdentityHashMap<>());

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

    /** An error about the diagram as a whole, and what to do about it. */
    public void error(String message, String hint) {
        add("error", source, startLine, message, hint);
    }

    /** An error at a place, and what to do about it, if that is known. */
    public void error(String file, Integer line, String message, String hint) {
        add("error", file, line, message, hint);
    }

    /** What PlantUML says about a line, which may not be about what the author did. */
    public void errorOfPlantuml(String file, Integer line, String message, Guard guard) {
        int known = diagnostics.size();
        String missing = lastMissing(guard);
        if (message.startsWith("Fatal parsing error") && missing != null) {
            boolean isTheme = missing.endsWith(".puml") && missing.contains("puml-theme-");
            add("error", file, line, "`" + missing + "` is not there", isTheme ? THEME_HINT : INCLUDE_HINT);
        } else if (message.startsWith("Fatal parsing error") || message.startsWith("You should send a mail")) {
            add("error", file, line, "PlantUML fails at this line",
                    "write it in another way, or leave out parts of it to find the one that PlantUML cannot read");
        } else {
            add("error", file, line, message, hintFor(message));
        }
        ofPlantuml.addAll(diagnostics.subList(known, diagnostics.size()));
    }

    /** The file that was looked for last, if it is not there. */
    private String lastMissing(Guard guard) {
        Path last = null;
        for (Path each : guard.filesLookedUp()) {
            last = each;
        }
        return last == null || Files.exists(last) ? null : withoutFolder(last.toString());
    }

    /** A warning about the diagram as a whole. */
    public void warning(String message, String hint) {
        add("warning", source, startLine, message, hint);
    }

    /** What could not be read: what PlantUML says about the same line would only confuse. */
    public void unreadable(List<References.Problem> problems, Guard guard) {
        Set<String> explained = new LinkedHashSet<>();
        for (References.Problem problem : problems) {
            String file = nameOf(problem.file);
            Integer line = problem.line;
            // A picture that is not there is no reason to fail: what PlantUML fails at in that line is something else.
            boolean isFatal = problem.kind != References.Kind.MISSING_IMAGE;
            boolean isSaid = isFatal && diagnostics.removeIf(each ->
                    ofPlantuml.contains(each) && file.equals(each.get("file")) && line.equals(each.get("line")));
            if (!isSaid && !guard.hasSeen(problem.name)) {
                continue; // in a branch that is not taken
            }
            String severity = isFatal ? "error" : "warning";
            add(severity, file, line, "`" + problem.name + "` " + whatIsWrong(problem.kind), whatToDo(problem.kind));
            explained.add(problem.name);
        }
        boolean isOutside = problems.stream()
                .anyMatch(each -> each.kind == References.Kind.OUTSIDE && explained.contains(each.name));
        if (!isOutside) {
            guard.filesRefused().stream().findFirst()
                    .ifPresent(name -> computed(withoutFolder(name), References.Kind.OUTSIDE));
        }
        for (String url : guard.urlsRefused()) {
            if (!explained.contains(url)) {
                computed(url, References.Kind.NETWORK);
            }
        }
    }

    /** A path below the root as results name it. */
    public String nameOf(Path path) {
        return root.relativize(path).toString().replace(File.separatorChar, '/');
    }

    /** A name put together by macros stands in no line; PlantUML's error about the file has the line of its use. */
    private void computed(String name, References.Kind kind) {
        for (Map<String, Object> diagnostic : diagnostics) {
            String message = (String) diagnostic.get("message");
            boolean isExplained = message.startsWith("`");
            if (isError(diagnostic) && !isExplained && !message.startsWith(SYNTAX_ERROR)) {
                explain(diagnostic, name, kind);
                return;
            }
        }
        error("`" + name + "` " + whatIsWrong(kind), whatToDo(kind));
    }

    private static void explain(Map<String, Object> diagnostic, String name, References.Kind kind) {
        diagnostic.put("message", "`" + name + "` " + whatIsWrong(kind));
        diagnostic.put("hint", whatToDo(kind));
    }

    private String withoutFolder(String name) {
        String folder = root.resolve(source).getParent() + File.separator;
        return name.startsWith(folder) ? name.substring(folder.length()) : name;
    }

    /** What to do about an error of PlantUML, as far as its words tell. */
    private static String hintFor(String message) {
        String lower = message.toLowerCase(Locale.ROOT);
        if (message.startsWith(SYNTAX_ERROR)) {
            return "PlantUML does not understand this line, or what comes before it";
        }
        if (message.startsWith(CANNOT_INCLUDE)) {
            return INCLUDE_HINT;
        }
        if (lower.contains("theme")) {
            return THEME_HINT;
        }
        if (message.startsWith("Cannot read: ")) {
            return "pictures are looked for beside the diagram and must lie in the course";
        }
        if (message.startsWith("Cannot find style ")) {
            return "`skin NAME` reads `NAME.skin` beside the diagram, or one that comes with PlantUML";
        }
        if (message.startsWith("Cannot import")) {
            return "archives are not read: unpack it, and use `!include`";
        }
        if (lower.contains("infinite loop")) {
            return "look at the condition of the loop that ends here";
        }
        return null;
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
                return "lies outside the root directory, where diagrams may not read";
        }
    }

    private static String whatToDo(References.Kind kind) {
        switch (kind) {
            case MISSING_IMAGE:
                return null;
            case NETWORK:
                return "copy the file to a place beside the diagram, or use what comes with PlantUML, such as `!include <C4/C4_Context>`";
            default:
                return "copy the file to a place beside the diagram";
        }
    }
}
