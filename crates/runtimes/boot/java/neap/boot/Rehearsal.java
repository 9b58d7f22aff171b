package neap.boot;

import com.amazonaws.services.lambda.runtime.Context;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * Uses once what functions use, while the archive of loaded classes is made, so that it holds them: starts take them from there
 * instead of parsing and checking them again.
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

    static void run() throws java.io.IOException {
        Log.redirect();
        new Channel();
        ClassLoader loader = new java.net.URLClassLoader(Main.classPath(), Main.class.getClassLoader());
        Thread.currentThread().setContextClassLoader(loader);
        byte[] payload = "{\"name\": \"a\\n\", \"numbers\": [1, 2], \"more\": {\"x\": 1.5}}".getBytes(StandardCharsets.UTF_8);
        Answer answer = new Answer();
        for (String method : new String[] {"handle", "bean"}) {
            try {
                Handler handler = Handler.load(Sample.class.getName() + "::" + method, loader);
                handler.call(payload, answer, null);
            } catch (Throwable error) {
                throw new IllegalStateException(error);
            }
        }
        Throwable error = new IllegalStateException("rehearsed");
        Fault.strip(error);
        Fault.report(error);
        Log.error(Fault.line(error));
        System.out.println(answer.size());
    }
}
