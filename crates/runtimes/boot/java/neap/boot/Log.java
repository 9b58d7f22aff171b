package neap.boot;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.Map;

/** The function's log: frames on standard output, each one record, as {@code output.rs} describes them. */
public final class Log implements LambdaLogger {
    public static final LambdaLogger LOGGER = new Log();

    private static final int TEXT_FRAME = 0xa55a0003;
    private static final int JSON_FRAME = 0xa55a0002;
    private static final int HEADER = 16;

    private static boolean isJson;
    private static LogLevel least = LogLevel.UNDEFINED;

    private static volatile Context context;

    private final FileOutputStream out = new FileOutputStream(FileDescriptor.out);

    private Log() {}

    /** Takes what the function's settings say of its log. */
    static void configure() {
        isJson = "JSON".equalsIgnoreCase(System.getenv("AWS_LAMBDA_LOG_FORMAT"));
        String name = System.getenv("AWS_LAMBDA_LOG_LEVEL");
        least = name == null || name.isEmpty() ? LogLevel.UNDEFINED : LogLevel.fromString(name);
    }

    /** Standard error goes where standard output goes, so that lines keep their order; both are UTF-8. */
    static void redirect() {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        System.setOut(out);
        System.setErr(out);
    }

    /** Records are of this invocation from now on. */
    static void of(Context invocation) {
        context = invocation;
    }

    /** An error that ended an invocation or the initialisation. */
    static void error(String message) {
        LOGGER.log(message, isJson ? LogLevel.ERROR : LogLevel.UNDEFINED);
    }

    @Override
    public void log(String message) {
        log(message, LogLevel.UNDEFINED);
    }

    @Override
    public void log(byte[] message) {
        write(message, TEXT_FRAME);
    }

    @Override
    public void log(String message, LogLevel level) {
        // What has no level is never left out.
        if (level != LogLevel.UNDEFINED && level.compareTo(least) < 0) {
            return;
        }
        String text = String.valueOf(message);
        if (isJson) {
            write(Json.write(record(text, level)).getBytes(StandardCharsets.UTF_8), JSON_FRAME);
        } else {
            String prefix = level == LogLevel.UNDEFINED ? "" : "[" + level + "] ";
            write((prefix + text).getBytes(StandardCharsets.UTF_8), TEXT_FRAME);
        }
    }

    @Override
    public void log(byte[] message, LogLevel level) {
        log(new String(message, StandardCharsets.UTF_8), level);
    }

    private static Map<String, Object> record(String message, LogLevel level) {
        Map<String, Object> record = new LinkedHashMap<>();
        DateTimeFormatter format = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'");
        record.put("timestamp", format.format(Instant.now().atOffset(ZoneOffset.UTC)));
        record.put("level", level.name());
        record.put("message", message);
        Context invocation = context;
        if (invocation != null) {
            record.put("AWSRequestId", invocation.getAwsRequestId());
            if (invocation.getTenantId() != null) {
                record.put("tenantId", invocation.getTenantId());
            }
        }
        return record;
    }

    private synchronized void write(byte[] text, int kind) {
        byte[] frame = new byte[HEADER + text.length];
        put(frame, 0, kind, 4);
        put(frame, 4, text.length, 4);
        put(frame, 8, System.currentTimeMillis() * 1000, 8);
        System.arraycopy(text, 0, frame, HEADER, text.length);
        System.out.flush();
        try {
            out.write(frame);
        } catch (IOException gone) {
            // Nobody listens any more; the environment is about to end.
        }
    }

    private static void put(byte[] bytes, int at, long value, int width) {
        for (int i = 0; i < width; i++) {
            bytes[at + i] = (byte) (value >>> 8 * (width - 1 - i));
        }
    }
}
