package clm.plantuml;

import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/**
 * clm's PlantUML worker: renders the diagrams of one course, several at once, and stays warm.
 *
 * <p>Speaks clm's worker protocol, JSON lines on standard input and output. Arguments: the PlantUML jar, the course
 * root, the number of threads, and the layout engine: `dot`, `smetana`, or `both` (Smetana, and Graphviz for diagrams that
 * ask for it). Ends when its input ends.
 */
public final class Worker {
    private static final int PROTOCOL = 1;
    /** Deeply nested diagrams and recursive macros need more than the usual stack. */
    private static final long STACK_BYTES = 64L << 20;
    /** Without work for this long after its start, the worker warms up. */
    private static final long WARM_UP_AFTER_MS = 150;

    private final PrintStream out;
    private final Path root;
    private final Renderer renderer;
    private final ExecutorService threads;
    private final Set<Long> cancelled = ConcurrentHashMap.newKeySet();
    private final AtomicBoolean hasWorked = new AtomicBoolean();

    /** Renders one request; implemented beside PlantUML, by {@code DiagramRenderer}. */
    public interface Renderer {
        /** Renders to files in a directory, and gives the fields of the result; tells files as soon as they are looked up. */
        Map<String, Object> render(String source, Path out, Map<String, Object> params, Consumer<String> discovered)
                throws Exception;

        /** PlantUML's version. */
        String version();

        /** Renders something small, so that the code of the common diagrams is loaded. */
        void warmUp();
    }

    private Worker(PrintStream out, Path root, Renderer renderer, int capacity) {
        this.out = out;
        this.root = root;
        this.renderer = renderer;
        this.threads = Executors.newFixedThreadPool(capacity, work -> thread("diagram", work));
    }

    /** A thread on which PlantUML can be called. */
    private Thread thread(String name, Runnable work) {
        Thread thread = new Thread(null, work, name, STACK_BYTES);
        thread.setDaemon(true);
        // Layout engines look for their parts through it.
        thread.setContextClassLoader(renderer.getClass().getClassLoader());
        return thread;
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        // Standard output belongs to the protocol; whatever PlantUML prints is log.
        System.setOut(System.err);
        Path jar = Path.of(args[0]);
        Path root = Path.of(args[1]).toRealPath();
        int capacity = Integer.parseInt(args[2]);
        String layout = args[3];

        URL ours = Worker.class.getProtectionDomain().getCodeSource().getLocation();
        GuardedLoader loader = new GuardedLoader(
                new URL[] {jar.toUri().toURL(), ours}, Worker.class.getClassLoader());
        Renderer renderer = (Renderer) loader.loadClass("clm.plantuml.DiagramRenderer")
                .getDeclaredConstructor(Path.class, String.class)
                .newInstance(root, layout);
        new Worker(out, root, renderer, capacity).serve(capacity, layout);
        // Threads may still render what nobody waits for.
        Runtime.getRuntime().halt(0);
    }

    private void serve(int capacity, String layout) throws Exception {
        String tool = "PlantUML " + renderer.version();
        send(Map.of("hello", fields(
                "protocol", PROTOCOL,
                "kind", "plantuml",
                "tool", tool,
                "fingerprint", tool + ", " + layout + ", Java " + System.getProperty("java.version"),
                "capacity", capacity)));
        warmUpWhenIdle();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (!line.isBlank()) {
                accept(Json.readObject(line));
            }
        }
    }

    private void warmUpWhenIdle() {
        Executors.newSingleThreadScheduledExecutor(work -> thread("warm-up", work)).schedule(() -> {
            if (!hasWorked.get()) {
                renderer.warmUp();
            }
        }, WARM_UP_AFTER_MS, TimeUnit.MILLISECONDS);
    }

    private void accept(Map<String, Object> message) {
        hasWorked.set(true);
        long id = ((Number) message.get("id")).longValue();
        if (Boolean.TRUE.equals(message.get("cancel"))) {
            // A render cannot be interrupted: its result is dropped when it comes, or clm kills this process.
            cancelled.add(id);
            return;
        }
        threads.submit(() -> work(id, message));
    }

    @SuppressWarnings("unchecked")
    private void work(long id, Map<String, Object> message) {
        Map<String, Object> work = (Map<String, Object>) message.get("work");
        Map<String, Object> result;
        try {
            result = cancelled.contains(id) ? fields("status", "cancelled") : render(id, work);
        } catch (OutOfMemoryError e) {
            // Whatever else is running would fail next: a new process is the only way on.
            System.err.println("PlantUML ran out of memory (limit " + (Runtime.getRuntime().maxMemory() >> 20) + " MB)");
            System.err.flush();
            Runtime.getRuntime().halt(4);
            return;
        } catch (StackOverflowError e) {
            result = failed(work, "the diagram is nested too deeply, or recurses without end",
                    "look for a macro or function that calls itself");
        } catch (LinkageError e) {
            e.printStackTrace();
            result = failed(work, "this version of PlantUML cannot do what the diagram needs: " + e,
                    "use the PlantUML that `clm setup` installs: `PLANTUML_JAR` may name another one");
        } catch (Throwable e) {
            e.printStackTrace();
            result = failed(work, "PlantUML failed: " + e,
                    "leave out parts of the diagram to find the one that PlantUML cannot draw");
        }
        if (cancelled.remove(id)) {
            result = fields("status", "cancelled");
        }
        send(fields("id", id, "result", result));
    }

    @SuppressWarnings("unchecked")
    private Map<String, Object> render(long id, Map<String, Object> work) throws Exception {
        if (!Path.of((String) work.get("root")).toRealPath().equals(root)) {
            throw new IllegalArgumentException("this worker serves the course in " + root);
        }
        Map<String, Object> params = (Map<String, Object>) work.get("params");
        // What a diagram that ends this process depends on is known all the same.
        Consumer<String> discovered = name -> send(fields("id", id, "discovered", List.of(name)));
        return renderer.render((String) work.get("source"), Path.of((String) work.get("out")), params, discovered);
    }

    private synchronized void send(Map<String, Object> message) {
        out.print(Json.write(message) + "\n");
        out.flush();
    }

    /** An error about the diagram as a whole, at the line where it starts. */
    @SuppressWarnings("unchecked")
    private static Map<String, Object> failed(Map<String, Object> work, String message, String hint) {
        String text = (String) ((Map<String, Object>) work.get("params")).get("text");
        int line = References.lineAt(text, Math.max(0, text.indexOf("@start")));
        return fields(
                "status", "failed",
                "diagnostics",
                List.of(fields(
                        "severity", "error", "file", work.get("source"), "line", line, "message", message, "hint", hint)));
    }

    /** A map of alternating names and values, in this order. */
    public static Map<String, Object> fields(Object... namesAndValues) {
        Map<String, Object> fields = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            if (namesAndValues[i + 1] != null) {
                fields.put((String) namesAndValues[i], namesAndValues[i + 1]);
            }
        }
        return fields;
    }
}
