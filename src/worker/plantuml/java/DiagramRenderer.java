package clm.plantuml;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import net.sourceforge.plantuml.BlockUml;
import net.sourceforge.plantuml.ErrorUml;
import net.sourceforge.plantuml.FileFormat;
import net.sourceforge.plantuml.FileFormatOption;
import net.sourceforge.plantuml.FileSystem;
import net.sourceforge.plantuml.SourceStringReader;
import net.sourceforge.plantuml.core.Diagram;
import net.sourceforge.plantuml.core.ImageData;
import net.sourceforge.plantuml.dot.GraphvizUtils;
import net.sourceforge.plantuml.error.PSystemError;
import net.sourceforge.plantuml.json.Json;
import net.sourceforge.plantuml.json.ParseException;
import net.sourceforge.plantuml.preproc.Defines;
import net.sourceforge.plantuml.security.SFile;

/** Renders diagrams with PlantUML. The only class of ours that calls it. */
public final class DiagramRenderer implements Worker.Renderer {
    private static final Pattern START = Pattern.compile("^\\h*@start(\\w+)", Pattern.MULTILINE);
    /** These take resolution as a `scale` line; the usual setting would be read as part of their data. */
    private static final Set<String> SCALED = Set.of("json", "yaml", "hcl", "math", "latex");
    private static final double DPI_OF_SCALE_1 = 96;
    /** Ways in which a Graphviz text makes Graphviz itself open files. */
    private static final Pattern DOT_OPENS_FILES =
            Pattern.compile("\\b(image|shapefile|imagepath|fontpath)\\s*=|<\\s*img\\b", Pattern.CASE_INSENSITIVE);
    /** A diagram that is to be laid out by Graphviz where there is a choice. */
    private static final Pattern WANTS_GRAPHVIZ =
            Pattern.compile("^[ \\t]*!pragma[ \\t]+layout[ \\t]+dot[ \\t\\r]*$", Pattern.MULTILINE);
    /** The command of formulas that opens files. */
    private static final String FORMULA_OPENS_FILES = "\\includegraphics";

    private final Path root;
    private final boolean smetana;
    private final boolean hasGraphviz;

    public DiagramRenderer(Path root, String layout) {
        this.root = root;
        this.smetana = !layout.equals("dot");
        this.hasGraphviz = !layout.equals("smetana");
    }

    @Override
    public String version() {
        try {
            Class<?> version = Class.forName(
                    "net.sourceforge.plantuml.version.Version", true, getClass().getClassLoader());
            return (String) version.getMethod("versionString").invoke(null);
        } catch (ReflectiveOperationException e) {
            return "of unknown version";
        }
    }

    @Override
    public void warmUp() {
        Guard.begin(root, root, path -> {});
        try {
            List<String> config = smetana ? List.of("!pragma layout smetana") : List.of();
            for (String text : List.of("class A\nA --> B", "A -> B: c\nB --> A")) {
                new SourceStringReader(Defines.createEmpty(), "@startuml\n" + text + "\n@enduml\n", config)
                        .outputImage(new ByteArrayOutputStream(), new FileFormatOption(FileFormat.PNG, false));
            }
        } catch (Throwable e) {
            System.err.println("warming up failed: " + e);
        } finally {
            Guard.end();
        }
    }

    @Override
    public Map<String, Object> render(
            String source, Path out, Map<String, Object> params, Consumer<String> discovered) throws IOException {
        return new Job(source, out, params, discovered).run();
    }

    /** The rendering of one diagram. */
    private final class Job {
        private final String source;
        private final Path out;
        private final String text;
        private final String format;
        private final int dpi;
        private final int limit;
        private final File file;
        /** The type of the first diagram: what follows `@start`. */
        private final String type;
        private final int startLine;
        private final Guard guard;
        private final Report report;

        Job(String source, Path out, Map<String, Object> params, Consumer<String> discovered) {
            this.source = source;
            this.out = out;
            this.text = (String) params.get("text");
            this.format = (String) params.get("format");
            this.dpi = ((Number) params.get("dpi")).intValue();
            this.limit = ((Number) params.get("limit")).intValue();
            this.file = root.resolve(source).toFile();
            Matcher start = START.matcher(text);
            boolean hasStart = start.find();
            this.type = hasStart ? start.group(1) : "";
            this.startLine = hasStart ? References.lineAt(text, start.start(1)) : 1;
            this.report = new Report(root, source, startLine);
            this.guard = Guard.begin(root, file.getParentFile().toPath(), path -> {
                if (isInput(report.nameOf(path))) {
                    discovered.accept(report.nameOf(path));
                }
            });
        }

        Map<String, Object> run() throws IOException {
            byte[] image;
            try {
                setLimit(limit);
                FileSystem.getInstance().setCurrentDir(SFile.fromFile(file.getParentFile()));
                image = image();
            } finally {
                FileSystem.getInstance().reset();
                Guard.end();
            }
            References references = new References(root, file.toPath(), text, guard.filesRead());
            report.unreadable(references.problems(), guard);
            boolean failed = image == null || report.hasErrors();
            List<Map<String, Object>> outputs = new ArrayList<>();
            if (!failed) {
                String name = "image." + format;
                Files.write(out.resolve(name), image);
                outputs.add(Worker.fields("name", name));
            }
            return Worker.fields(
                    "status", failed ? "failed" : "ok",
                    "outputs", outputs,
                    "discovered", discovered(),
                    "diagnostics", report.diagnostics());
        }

        /** The picture of the first page of the first diagram, or null after an error. */
        private byte[] image() throws IOException {
            SFile folder = SFile.fromFile(file.getParentFile());
            List<BlockUml> blocks = new SourceStringReader(
                            Defines.createWithFileName(file), text, StandardCharsets.UTF_8, config(), folder)
                    .getBlocks();
            if (blocks.isEmpty()) {
                if (type.isEmpty()) {
                    report.error("there is no diagram: a line such as `@startuml` is missing",
                            "put `@startuml` before the diagram, and `@enduml` after it");
                } else {
                    report.error("the diagram has no end: `@end" + type + "` is missing",
                            "put `@end" + type + "` after the diagram, on a line of its own");
                }
                return null;
            }
            Diagram diagram = blocks.get(0).getDiagram();
            if (diagram instanceof PSystemError) {
                reportErrors((PSystemError) diagram);
                return null;
            }
            if (isUnreadableData(diagram)) {
                report.error(source, lineOfBrokenJson(), "the data between `@start" + type + "` and `@end" + type
                        + "` is not valid " + type.toUpperCase(Locale.ROOT), type.equals("yaml")
                        ? "look for a wrong indentation or a missing colon"
                        : "look for a missing comma, quotation mark or bracket at this line, or before it");
                return null;
            }
            String processed = processedText(diagram);
            if (isGraphviz(diagram) && DOT_OPENS_FILES.matcher(processed).find()) {
                report.error("Graphviz attributes that read files are not supported",
                        "leave out `image`, `shapefile`, `imagepath` and `fontpath`");
                return null;
            }
            if (processed.contains(FORMULA_OPENS_FILES)) {
                report.error("`" + FORMULA_OPENS_FILES + "` is not supported",
                        "leave it out: formulas read no files");
                return null;
            }
            byte[] image = draw(diagram);
            if (image != null) {
                warnOfWhatIsLeftOut(blocks.size() - 1, diagram.getNbImages() - 1);
                warnOfCut(image);
            }
            return image;
        }

        private List<String> config() {
            List<String> config = new ArrayList<>();
            boolean wantsGraphviz = hasGraphviz && WANTS_GRAPHVIZ.matcher(text).find();
            if (smetana && type.equals("uml") && !wantsGraphviz) {
                config.add("!pragma layout smetana");
            }
            if (format.equals("png") && dpi != DPI_OF_SCALE_1) {
                config.add(SCALED.contains(type)
                        ? String.format(Locale.ROOT, "scale %.6f", dpi / DPI_OF_SCALE_1)
                        : "skinparamlocked dpi " + dpi);
            }
            return config;
        }

        private byte[] draw(Diagram diagram) throws IOException {
            FileFormat fileFormat = format.equals("svg") ? FileFormat.SVG : FileFormat.PNG;
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            // Without metadata: the source of a diagram, comments included, is not for those who get the picture.
            ImageData data = diagram.exportDiagram(bytes, 0, new FileFormatOption(fileFormat, false));
            boolean isPicture = bytes.size() > 8 && bytes.toByteArray()[0] == (fileFormat == FileFormat.SVG ? '<' : (byte) 0x89);
            if (data.getStatus() < 400 && !isPicture && type.equals("dot")) {
                report.error("Graphviz cannot read the diagram",
                        "look for a missing bracket, quotation mark or arrow; attributes are written `[name=value]`");
                return null;
            }
            if (data.getStatus() < 400 && fileFormat == FileFormat.SVG && !isPicture) {
                report.error("a diagram of the type `" + type + "` cannot be made as SVG, only as PNG",
                        "build with `--image-format png`");
                return null;
            }
            if (data.getStatus() < 400) {
                return bytes.toByteArray();
            }
            Object cause = call(data, "getRootCause");
            if (cause instanceof OutOfMemoryError) {
                throw (OutOfMemoryError) cause;
            }
            if (!hasGraphviz && type.equals("dot")) {
                report.error("a diagram of the type `dot` needs Graphviz, which was not found",
                        "`clm setup` installs it; a program `dot` on the search path will do as well");
            } else if (cause instanceof Throwable && rootOf((Throwable) cause) instanceof UnsupportedClassVersionError) {
                report.error("the diagram needs a part of PlantUML that this Java is too old for (it is "
                        + System.getProperty("java.version") + ")",
                        "install a newer Java, or leave out `!pragma layout`");
            } else {
                String reason = cause instanceof Throwable ? ": " + rootOf((Throwable) cause) : "";
                report.error("PlantUML could not draw it" + reason,
                        "leave out parts of the diagram to find the one that it cannot draw");
            }
            return null;
        }

        /** Where PlantUML's own JSON reader stumbles, or the start of the diagram when that cannot be found out. */
        private int lineOfBrokenJson() {
            StringBuilder data = new StringBuilder("\n".repeat(startLine));
            boolean isData = false;
            for (String line : text.lines().skip(startLine).toArray(String[]::new)) {
                if (line.startsWith("@end")) {
                    break;
                }
                // Settings may stand before the data.
                isData |= line.stripLeading().startsWith("{") || line.stripLeading().startsWith("[");
                data.append(isData ? line : "").append('\n');
            }
            try {
                Json.parse(data.toString());
            } catch (ParseException e) {
                return Math.min(e.getLocation().line, (int) text.lines().count());
            } catch (RuntimeException e) {
                // Not the place to insist.
            }
            return startLine;
        }

        private void reportErrors(PSystemError diagram) {
            for (ErrorUml each : diagram.getErrorsUml()) {
                Object location = call(each, "getLineLocation");
                Object position = call(location, "getPosition");
                Integer line = position == null ? null : (Integer) position + 1;
                report.errorOfPlantuml(fileOf(location), line, each.getError(), guard);
            }
            if (!report.hasErrors()) {
                report.error("PlantUML found an error that it does not explain",
                        "leave out parts of the diagram to find the one that it is about");
            }
        }

        private void warnOfWhatIsLeftOut(int diagrams, int pages) {
            if (diagrams > 0) {
                report.warning("only the first diagram of the file is used; " + diagrams + " more are ignored",
                        "put each diagram into a file of its own");
            }
            if (pages > 0) {
                report.warning("only the first page of the diagram is used; " + pages + " more are ignored",
                        "make a diagram of its own from what follows `newpage`");
            }
        }

        /** PlantUML cuts pictures at the limit without a word. */
        private void warnOfCut(byte[] image) {
            if (!format.equals("png") || image.length < 24) {
                return;
            }
            ByteBuffer header = ByteBuffer.wrap(image);
            int width = header.getInt(16);
            int height = header.getInt(20);
            if (width >= limit || height >= limit) {
                report.warning("the picture is larger than " + limit + " pixels and was cut there",
                        "add a line such as `scale max " + limit / 2 + " width`, or render it as SVG");
            }
        }

        /** Files that were read or asked for, whether they are there or not, relative to the root. */
        private List<String> discovered() {
            Set<String> names = new TreeSet<>();
            guard.filesRead().forEach(each -> names.add(report.nameOf(each)));
            guard.filesLookedUp().forEach(each -> names.add(report.nameOf(each)));
            names.removeIf(each -> !isInput(each));
            return new ArrayList<>(names);
        }

        /** Names that mean something else on other systems are none of a file of a course. */
        private boolean isInput(String name) {
            return !name.equals(source) && name.indexOf('\\') < 0 && name.indexOf(':') != 1;
        }

        /** The course-relative file that a location of PlantUML is in: the diagram's own, or an included one. */
        private String fileOf(Object location) {
            Object description = call(location, "getDescription");
            if (!(description instanceof String)) {
                return source;
            }
            String name = new File((String) description).getName();
            for (Path each : guard.filesRead()) {
                if (each.getFileName().toString().equals(name)) {
                    return report.nameOf(each);
                }
            }
            return source;
        }
    }

    /** PlantUML draws a sentence, and calls it a success, when JSON or YAML cannot be read. */
    private static boolean isUnreadableData(Diagram diagram) {
        if (!diagram.getClass().getSimpleName().equals("JsonDiagram")) {
            return false;
        }
        try {
            Field data = diagram.getClass().getDeclaredField("root");
            data.setAccessible(true);
            return data.get(diagram) == null;
        } catch (ReflectiveOperationException e) {
            return false;
        }
    }

    /** Sets the largest width and height of the pictures of this thread. */
    private static void setLimit(int limit) {
        try {
            GraphvizUtils.setLocalImageLimit(limit);
        } catch (LinkageError e) {
            // Older versions have the class elsewhere; all requests of a course have the same limit anyway.
            System.setProperty("PLANTUML_LIMIT_SIZE", Integer.toString(limit));
        }
    }

    /** The text after macros and includes, as lines. */
    @SuppressWarnings("deprecation") // what replaces the method is not there in older versions
    private static String processedText(Diagram diagram) {
        return diagram.getSource().getPlainString();
    }

    private static boolean isGraphviz(Diagram diagram) {
        return diagram.getClass().getSimpleName().equals("PSystemDot");
    }

    private static Throwable rootOf(Throwable error) {
        return error.getCause() == null || error.getCause() == error ? error : rootOf(error.getCause());
    }

    /** Calls a public method that has another type, or is not there, in other versions of PlantUML. */
    private static Object call(Object object, String name) {
        if (object == null) {
            return null;
        }
        try {
            Method method = object.getClass().getMethod(name);
            method.setAccessible(true);
            return method.invoke(object);
        } catch (ReflectiveOperationException | RuntimeException e) {
            return null;
        }
    }
}
