package neap.boot;

import com.amazonaws.services.lambda.runtime.CustomPojoSerializer;
import java.io.ByteArrayInputStream;
import java.lang.reflect.Type;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.ServiceLoader;

/** Payloads to and from handlers' types: by the package's own serializer where it brings one. */
abstract class Mapping {
    abstract Object read(byte[] payload, Type type) throws Exception;

    abstract void write(Object value, Type type, Answer answer) throws Exception;

    static Mapping get() {
        ClassLoader loader = Thread.currentThread().getContextClassLoader();
        // Asked for by its file first: most packages have none, and services are slow to look for.
        if (loader.getResource("META-INF/services/" + CustomPojoSerializer.class.getName()) == null) {
            return new Own();
        }
        Iterator<CustomPojoSerializer> found = ServiceLoader.load(CustomPojoSerializer.class, loader).iterator();
        Mapping mapping = found.hasNext() ? new Custom(found.next()) : new Own();
        if (found.hasNext()) {
            throw new IllegalStateException("the package brings more than one " + CustomPojoSerializer.class.getName());
        }
        return mapping;
    }

    private static RuntimeException unreadable(Throwable error) {
        return new RuntimeException("An error occurred during JSON parsing", error);
    }

    private static RuntimeException unwritable(Throwable error) {
        return new RuntimeException("An error occurred during JSON serialization of response", error);
    }

    private static final class Own extends Mapping {
        @Override
        Object read(byte[] payload, Type type) {
            try {
                return Reader.read(Json.parse(new String(payload, StandardCharsets.UTF_8)), type);
            } catch (VirtualMachineError error) {
                throw error;
            } catch (Throwable error) {
                throw unreadable(error);
            }
        }

        @Override
        void write(Object value, Type type, Answer answer) {
            try {
                answer.write(Json.write(value));
            } catch (VirtualMachineError error) {
                throw error;
            } catch (Throwable error) {
                throw unwritable(error);
            }
        }
    }

    private static final class Custom extends Mapping {
        private final CustomPojoSerializer serializer;

        Custom(CustomPojoSerializer serializer) {
            this.serializer = serializer;
        }

        @Override
        Object read(byte[] payload, Type type) {
            try {
                return serializer.fromJson(new ByteArrayInputStream(payload), type);
            } catch (RuntimeException error) {
                throw unreadable(error);
            }
        }

        @Override
        void write(Object value, Type type, Answer answer) {
            if (type == void.class || type == Void.class) {
                answer.write("null");
                return;
            }
            try {
                serializer.toJson(value, answer, type);
            } catch (RuntimeException error) {
                throw unwritable(error);
            }
        }
    }
}
