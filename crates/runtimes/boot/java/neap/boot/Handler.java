package neap.boot;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.List;

/**
 * The user's code behind a handler's name: {@code package.Class} or {@code package.Class::method}.
 *
 * <p>Here and in {@link Main} there are no lambda expressions: the first one of a program costs milliseconds.
 */
interface Handler {
    void call(byte[] payload, Answer answer, Context context) throws Throwable;

    /**
     * Loads the class and makes its object.
     *
     * @throws Fault when there is no such handler
     * @throws Throwable what the user's code throws
     */
    static Handler load(String name, ClassLoader loader) throws Throwable {
        int colons = name.indexOf("::");
        String className = colons < 0 ? name : name.substring(0, colons);
        String methodName = colons < 0 ? null : name.substring(colons + 2);
        if (className.isEmpty() || colons >= 0 && (methodName.isEmpty() || methodName.contains(":"))) {
            throw new Fault("Invalid handler: `" + name + "'", "java.lang.RuntimeException", null);
        }
        Class<?> type;
        try {
            type = Class.forName(className, true, loader);
        } catch (ClassNotFoundException error) {
            throw new Fault("Class not found: " + className, "java.lang.ClassNotFoundException", null);
        } catch (LinkageError error) {
            Throwable cause = error instanceof ExceptionInInitializerError && error.getCause() != null ? error.getCause() : error;
            throw new Fault("Error loading class " + className + ": " + cause, typeName(cause), cause);
        }
        boolean isInterface = methodName == null || methodName.equals("handleRequest");
        if (isInterface && RequestStreamHandler.class.isAssignableFrom(type)) {
            RequestStreamHandler handler = (RequestStreamHandler) make(type);
            return new Handler() {
                @Override
                public void call(byte[] payload, Answer answer, Context context) throws Throwable {
                    handler.handleRequest(new ByteArrayInputStream(payload), answer, context);
                }
            };
        }
        if (isInterface && RequestHandler.class.isAssignableFrom(type)) {
            return mapped(type, (RequestHandler<?, ?>) make(type));
        }
        if (methodName == null) {
            throw new Fault(
                    "Class " + className + " does not implement an appropriate handler interface",
                    "java.lang.RuntimeException",
                    null);
        }
        return ofMethod(type, methodName);
    }

    private static String typeName(Throwable error) {
        return error.getClass().getName();
    }

    @SuppressWarnings("unchecked")
    private static Handler mapped(Class<?> type, RequestHandler<?, ?> handler) {
        Type[] types = Types.arguments(type, RequestHandler.class);
        Mapping mapping = Mapping.get();
        return new Handler() {
            @Override
            public void call(byte[] payload, Answer answer, Context context) throws Throwable {
                Object input = mapping.read(payload, types[0]);
                Object output = ((RequestHandler<Object, Object>) handler).handleRequest(input, context);
                mapping.write(output, types[1], answer);
            }
        };
    }

    private static Object make(Class<?> type) throws Throwable {
        Constructor<?> constructor;
        try {
            constructor = type.getConstructor();
        } catch (NoSuchMethodException error) {
            throw new Fault(
                    "Class " + type.getName() + " has no public zero-argument constructor", "java.lang.NoSuchMethodException", null);
        }
        constructor.trySetAccessible();
        try {
            return constructor.newInstance();
        } catch (InvocationTargetException error) {
            throw error.getCause();
        } catch (InstantiationException error) {
            throw new Fault(
                    "Class " + type.getName() + " is abstract and cannot be instantiated", "java.lang.InstantiationException", null);
        }
    }

    // -------------------------------------------------------------------------------------------------- plain methods

    /** Of several methods of one name: the one with most parameters, and of those one that takes the context. */
    private static Handler ofMethod(Class<?> type, String name) throws Throwable {
        List<Method> named = new ArrayList<>();
        for (Method visible : type.getMethods()) {
            Method method = visible.getName().equals(name) ? Bean.original(visible) : null;
            if (method != null && fits(method.getParameterTypes())) {
                named.add(method);
            }
        }
        if (named.isEmpty()) {
            throw new Fault(
                    "No public method named " + name + " with appropriate method signature found on class " + type.getName(),
                    "java.lang.RuntimeException",
                    null);
        }
        Method method = named.get(0);
        for (Method other : named) {
            if (rank(other) > rank(method)) {
                method = other;
            }
        }
        method.trySetAccessible();
        Object object = Modifier.isStatic(method.getModifiers()) ? null : make(type);
        Class<?>[] parameters = method.getParameterTypes();
        for (Class<?> parameter : parameters) {
            if (parameter == InputStream.class || parameter == OutputStream.class) {
                return streams(method, object, parameters);
            }
        }
        return mapped(type, method, object, parameters);
    }

    private static int rank(Method method) {
        return 2 * method.getParameterCount() + (takesContext(method.getParameterTypes()) ? 1 : 0);
    }

    /** Whether the parameters are: an input, or streams; then the context. Each may be missing. */
    private static boolean fits(Class<?>[] parameters) {
        int given = parameters.length - (takesContext(parameters) ? 1 : 0);
        return given < 2 || given == 2 && parameters[0] == InputStream.class && parameters[1] == OutputStream.class;
    }

    private static boolean takesContext(Class<?>[] parameters) {
        return parameters.length > 0 && parameters[parameters.length - 1] == Context.class;
    }

    private static Handler streams(Method method, Object object, Class<?>[] parameters) {
        return new Handler() {
            @Override
            public void call(byte[] payload, Answer answer, Context context) throws Throwable {
                Object[] arguments = new Object[parameters.length];
                for (int i = 0; i < parameters.length; i++) {
                    if (parameters[i] == InputStream.class) {
                        arguments[i] = new ByteArrayInputStream(payload);
                    } else if (parameters[i] == OutputStream.class) {
                        arguments[i] = answer;
                    } else {
                        arguments[i] = context;
                    }
                }
                invoke(method, object, arguments);
            }
        };
    }

    private static Handler mapped(Class<?> type, Method method, Object object, Class<?>[] parameters) {
        boolean takesContext = takesContext(parameters);
        boolean takesInput = parameters.length > (takesContext ? 1 : 0);
        Type input = takesInput ? Types.seen(method.getGenericParameterTypes()[0], type, method.getDeclaringClass()) : null;
        Type output = Types.seen(method.getGenericReturnType(), type, method.getDeclaringClass());
        Mapping mapping = Mapping.get();
        return new Handler() {
            @Override
            public void call(byte[] payload, Answer answer, Context context) throws Throwable {
                Object[] arguments = new Object[parameters.length];
                if (takesInput) {
                    arguments[0] = mapping.read(payload, input);
                }
                if (takesContext) {
                    arguments[parameters.length - 1] = context;
                }
                mapping.write(invoke(method, object, arguments), output, answer);
            }
        };
    }

    private static Object invoke(Method method, Object object, Object[] arguments) throws Throwable {
        try {
            return method.invoke(object, arguments);
        } catch (InvocationTargetException error) {
            throw error.getCause();
        }
    }
}
