package neap.boot;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/** Bytes of a response, with room for their frame's header in front, so that they are not copied. */
final class Answer extends ByteArrayOutputStream {
    private static final int HEADER = 5;
    /** More than this is not kept between invocations. */
    private static final int KEPT_MAX = 64 * 1024;

    Answer() {
        super(1024);
        count = HEADER;
    }

    /** Forgets everything. Also called by handlers that begin anew. */
    @Override
    public synchronized void reset() {
        if (buf.length > KEPT_MAX) {
            buf = new byte[1024];
        }
        count = HEADER;
    }

    void write(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        write(bytes, 0, bytes.length);
    }

    byte[] frame() {
        return buf;
    }
}
