package neap.boot;

import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import jdk.internal.access.JavaNioAccess;
import jdk.internal.access.SharedSecrets;

/**
 * A machine that has booted and waits for its function, as {@code cells.rs} describes it.
 *
 * <p>Until {@link #become} is done, nothing may ask for variables of the environment or for the time zone, which the machine reads
 * once and keeps: {@link System#getenv} shows what the C library has when it is called first.
 */
final class Cell {
    private static final String MARK = "\0_NEAP_STEM_CELL=1\0";
    private static final String LIBRARY = "/var/runtime/libneap.so";

    /** What the C library shows from then on. */
    private static ByteBuffer environment;

    private Cell() {}

    /** Whether this process was started to wait. */
    static boolean isThis() throws IOException {
        try (InputStream own = new FileInputStream("/proc/self/environ")) {
            return ("\0" + new String(own.readAllBytes(), StandardCharsets.ISO_8859_1)).contains(MARK);
        }
    }

    /** Waits for the environment of a function, then for its files; false when the daemon has gone. */
    static boolean become(Channel channel) throws IOException {
        System.load(LIBRARY);
        Rehearsal.prepare();
        channel.send(Channel.WAITING);
        byte[] variables = channel.frame(Channel.BEGIN);
        if (variables == null) {
            return false;
        }
        environment = text(variables);
        replaceEnvironment(address(environment));
        // They hold credentials, which the function may drop.
        Arrays.fill(variables, (byte) 0);
        System.getenv();
        byte[] name = channel.frame(Channel.ATTACHED);
        if (name == null) {
            return false;
        }
        String folder = new String(name, StandardCharsets.UTF_8);
        // The machine resolves names of files by where it was when it began.
        if (!folder.equals(System.getProperty("user.dir")) || enter(address(text(name))) != 0) {
            throw new IOException("cannot work in " + folder);
        }
        return true;
    }

    /** The bytes where native code finds them, with a zero behind. */
    private static ByteBuffer text(byte[] bytes) {
        return ByteBuffer.allocateDirect(bytes.length + 1).put(bytes);
    }

    private static long address(ByteBuffer buffer) {
        JavaNioAccess access = SharedSecrets.getJavaNioAccess();
        return access.getBufferAddress(buffer);
    }

    private static native void replaceEnvironment(long block);

    private static native int enter(long folder);
}
