package neap.boot;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** An error that Lambda words itself, and how errors are told to callers and logs. */
final class Fault extends Exception {
    private static final long serialVersionUID = 1;
    /** Causes within each other that are told. */
    private static final int CAUSES_MAX = 20;

    /** Name of the error's class, as callers see it. */
    final String type;

    Fault(String message, String type, Throwable cause) {
        super(message, cause, false, false);
        this.type = type;
    }

    /** What callers get: the error's type, and the JSON of a report. */
    static String typeOf(Throwable error) {
        return error instanceof Fault ? ((Fault) error).type : error.getClass().getName();
    }

    static String report(Throwable error) {
        return Json.write(fields(error, 0));
    }

    private static Map<String, Object> fields(Throwable error, int depth) {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("errorMessage", messageOf(error));
        fields.put("errorType", typeOf(error));
        List<String> trace = new ArrayList<>();
        for (StackTraceElement element : error.getStackTrace()) {
            trace.add(element.toString());
        }
        Throwable cause = error.getCause();
        if (error instanceof Fault && cause != null) {
            // It stands for its cause.
            for (StackTraceElement element : cause.getStackTrace()) {
                trace.add(element.toString());
            }
            cause = cause.getCause();
        }
        fields.put("stackTrace", trace);
        if (cause != null && depth < CAUSES_MAX) {
            fields.put("cause", fields(cause, depth + 1));
        }
        return fields;
    }

    private static String messageOf(Throwable error) {
        String message;
        try {
            message = error.getLocalizedMessage();
        } catch (Throwable broken) {
            message = null;
        }
        return message == null ? error.getClass().getName() : message;
    }

    /** What the log says. */
    static String line(Throwable error) {
        java.io.StringWriter text = new java.io.StringWriter();
        text.write(messageOf(error) + ": " + typeOf(error) + "\n");
        Throwable shown = error instanceof Fault ? error.getCause() : error;
        if (shown != null) {
            shown.printStackTrace(new java.io.PrintWriter(text, true));
        }
        return text.toString();
    }

    /** Takes what the runtime itself did out of the traces of an error and its causes. */
    static void strip(Throwable error) {
        int depth = 0;
        for (Throwable one = error; one != null && depth < CAUSES_MAX; one = one.getCause(), depth++) {
            StackTraceElement[] trace = one.getStackTrace();
            int end = 0;
            while (end < trace.length && !trace[end].getClassName().startsWith("neap.boot.")) {
                end++;
            }
            if (end == trace.length) {
                continue;
            }
            while (end > 0 && isReflection(trace[end - 1].getClassName())) {
                end--;
            }
            one.setStackTrace(java.util.Arrays.copyOf(trace, end));
        }
    }

    private static boolean isReflection(String name) {
        return name.startsWith("jdk.internal.reflect.")
                || name.startsWith("java.lang.reflect.")
                || name.startsWith("java.lang.invoke.")
                || name.startsWith("jdk.internal.vm.");
    }
}
