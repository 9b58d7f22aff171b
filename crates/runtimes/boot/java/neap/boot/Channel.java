package neap.boot;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import jdk.internal.access.SharedSecrets;

/** Frames over descriptor 3, as {@code frames.rs} describes them. */
final class Channel {
    static final int BOOTED = 1;
    static final int READY = 2;
    static final int INIT_ERROR = 3;
    static final int ERROR = 5;
    static final int FINAL_ERROR = 10;
    static final int WAITING = 11;
    static final int RESTORED = 12;
    static final int RESTORE_ERROR = 13;
    /** Of the daemon's frames, besides events. */
    static final int BEGIN = 2;

    static final int RESTORE = 3;
    static final int ATTACHED = 4;

    private static final int RESPONSE = 4;
    private static final int DESCRIPTOR = 3;
    /** Bytes of an event before its texts. */
    private static final int EVENT_HEADER = 57;
    private static final int ERROR_TYPE_MAX = 1024;

    private final FileInputStream in;
    private final FileOutputStream out;
    /** As long as native code reads without allocating. */
    private final byte[] buffer = new byte[8192];

    Channel() {
        // No public interface makes a stream of a number; the other way, by reflection, needs java.io opened.
        FileDescriptor descriptor = new FileDescriptor();
        SharedSecrets.getJavaIOFileDescriptorAccess().set(descriptor, DESCRIPTOR);
        in = new FileInputStream(descriptor);
        out = new FileOutputStream(descriptor);
    }

    /** One event. */
    static final class Event {
        final String requestId;
        final long deadlineMs;
        final String arn;
        final String trace;
        final String clientContext;
        final byte[] payload;

        private Event(byte[] frame, int length) {
            deadlineMs = little(frame, 5, 8);
            requestId = text(frame, 13, 36);
            int arnLength = (int) little(frame, 49, 2);
            int traceLength = (int) little(frame, 51, 2);
            int contextLength = (int) little(frame, 53, 4);
            int at = EVENT_HEADER;
            arn = text(frame, at, arnLength);
            at += arnLength;
            trace = text(frame, at, traceLength);
            at += traceLength;
            clientContext = text(frame, at, contextLength);
            at += contextLength;
            payload = new byte[length - at];
            System.arraycopy(frame, at, payload, 0, payload.length);
        }
    }

    /** The next event; null when the daemon has gone. */
    Event receive() throws IOException {
        byte[] frame = buffer;
        int got = 0;
        while (got < 4) {
            int more = in.read(frame, got, frame.length - got);
            if (more < 0) {
                return null;
            }
            got += more;
        }
        int length = (int) little(frame, 0, 4) + 4;
        if (length > frame.length) {
            frame = new byte[length];
            System.arraycopy(buffer, 0, frame, 0, got);
        }
        while (got < length) {
            int more = in.read(frame, got, length - got);
            if (more < 0) {
                return null;
            }
            got += more;
        }
        return new Event(frame, length);
    }

    /** The body of the next frame, which is of that kind and no event, and nothing of what follows; null when the daemon has gone. */
    byte[] frame(int kind) throws IOException {
        byte[] head = new byte[5];
        if (!fill(head)) {
            return null;
        }
        if (head[4] != kind) {
            throw new IOException("a frame of kind " + head[4] + " instead of " + kind);
        }
        byte[] body = new byte[(int) little(head, 0, 4) - 1];
        return fill(body) ? body : null;
    }

    private boolean fill(byte[] bytes) throws IOException {
        for (int got = 0, more; got < bytes.length; got += more) {
            more = in.read(bytes, got, bytes.length - got);
            if (more < 0) {
                return false;
            }
        }
        return true;
    }

    /** A frame without a body. */
    void send(int kind) throws IOException {
        out.write(new byte[] {1, 0, 0, 0, (byte) kind});
    }

    /** What was written into {@code answer}. */
    void respond(Answer answer) throws IOException {
        byte[] frame = answer.frame();
        put(frame, 0, answer.size() - 4, 4);
        frame[4] = RESPONSE;
        out.write(frame, 0, answer.size());
    }

    /** A report of an error: its type and its JSON. */
    void sendError(int kind, String type, String json) throws IOException {
        byte[] name = type.getBytes(StandardCharsets.UTF_8);
        int named = Math.min(name.length, ERROR_TYPE_MAX);
        byte[] body = json.getBytes(StandardCharsets.UTF_8);
        byte[] frame = new byte[7 + named + body.length];
        put(frame, 0, frame.length - 4, 4);
        frame[4] = (byte) kind;
        put(frame, 5, named, 2);
        System.arraycopy(name, 0, frame, 7, named);
        System.arraycopy(body, 0, frame, 7 + named, body.length);
        out.write(frame);
    }

    private static String text(byte[] bytes, int at, int length) {
        return new String(bytes, at, length, StandardCharsets.UTF_8);
    }

    private static long little(byte[] bytes, int at, int width) {
        long value = 0;
        for (int i = width - 1; i >= 0; i--) {
            value = value << 8 | bytes[at + i] & 0xff;
        }
        return value;
    }

    private static void put(byte[] bytes, int at, int value, int width) {
        for (int i = 0; i < width; i++) {
            bytes[at + i] = (byte) (value >>> 8 * i);
        }
    }
}
