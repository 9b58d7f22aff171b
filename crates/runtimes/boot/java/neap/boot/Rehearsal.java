package neap.boot;

import com.amazonaws.services.lambda.runtime.Context;
import java.io.IOException;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * Uses what functions use: once while the archive of loaded classes is made, so that it holds them, and starts take them from there
 * instead of parsing and checking them again; several times in a machine that waits.
 */
final class Rehearsal {
    private Rehearsal() {}

    /** A handler such as the smallest functions have. */
    public static final class Sample {
        private String name;
        private int[] numbers;

        public String getName() {
            return name;
        }

        public void setName(String name) {
            this.name = name;
        }

        public int[] getNumbers() {
            return numbers;
        }

        public void setNumbers(int[] numbers) {
            this.numbers = numbers;
        }

        public Map<String, Object> handle(Map<String, Object> input, Context context) {
            return input;
        }

        public Sample bean(Sample input) {
            return input;
        }
    }

    private static final byte[] PAYLOAD =
            "{\"name\": \"a\\n\", \"numbers\": [1, 2], \"more\": {\"x\": 1.5}}".getBytes(StandardCharsets.UTF_8);
    private static final String[] METHODS = {"handle", "bean"};
    /** More changes little: what is left is done once in a process. */
    private static final int TIMES = 8;

    /** For the archive. */
    static void run() throws IOException {
        Log.redirect();
        Log.configure();
        new Channel();
        int size = serve(new URLClassLoader(Main.classPath(), Main.class.getClassLoader()));
        Throwable error = new IllegalStateException("rehearsed");
        Fault.strip(error);
        Fault.report(error);
        Log.error(Fault.line(error));
        System.out.println(size);
    }

    /** For a function that is not known yet: says nothing, and asks for nothing that differs between functions. */
    static void prepare() throws IOException {
        for (int i = 0; i < TIMES; i++) {
            try (URLClassLoader loader = new URLClassLoader(Main.ownPath(), ClassLoader.getPlatformClassLoader())) {
                // Its own copy of the class: that is how those of functions are found and defined.
                Class.forName(Sample.class.getName(), true, loader);
            } catch (ClassNotFoundException error) {
                throw new IllegalStateException(error);
            }
            serve(Main.class.getClassLoader());
        }
        Thread.currentThread().setContextClassLoader(Main.class.getClassLoader());
    }

    private static int serve(ClassLoader loader) {
        Thread.currentThread().setContextClassLoader(loader);
        Answer answer = new Answer();
        for (String method : METHODS) {
            try {
                Handler handler = Handler.load(Sample.class.getName() + "::" + method, loader);
                handler.call(PAYLOAD, answer, null);
            } catch (Throwable error) {
                throw new IllegalStateException(error);
            }
        }
        return answer.size();
    }
}
