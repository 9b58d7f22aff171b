package neap.boot;

/** Tells log4j the request id, where its appender for Lambda has asked for it. */
final class Log4j {
    private Log4j() {}

    static void put(ClassLoader loader, String requestId) {
        String[] contexts = {"org.apache.log4j.MDC", "org.apache.logging.log4j.ThreadContext"};
        Class<?>[] values = {Object.class, String.class};
        for (int i = 0; i < contexts.length; i++) {
            try {
                Class<?> context = Class.forName(contexts[i], true, loader);
                context.getMethod("put", String.class, values[i]).invoke(null, "AWSRequestId", requestId);
            } catch (ReflectiveOperationException absent) {
                // The other one is in use.
            }
        }
    }
}
