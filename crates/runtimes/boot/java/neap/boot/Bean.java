package neap.boot;

import java.lang.reflect.AccessibleObject;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

/** The properties of a class: public getters, setters and fields. */
final class Bean {
    private static final Map<Class<?>, Bean> KNOWN = new ConcurrentHashMap<>();

    /** One way to write a property. */
    static final class Setter {
        final String name;
        final Type type;
        final Class<?> declaring;
        private final Method method;
        private final Field field;

        private Setter(String name, Method method) {
            this.name = name;
            this.method = method;
            field = null;
            type = method.getGenericParameterTypes()[0];
            declaring = method.getDeclaringClass();
        }

        private Setter(String name, Field field) {
            this.name = name;
            this.field = field;
            method = null;
            type = field.getGenericType();
            declaring = field.getDeclaringClass();
        }

        void set(Object bean, Object value) throws Throwable {
            if (field != null) {
                field.set(bean, value);
                return;
            }
            try {
                method.invoke(bean, value);
            } catch (InvocationTargetException error) {
                throw error.getCause();
            }
        }
    }

    private final Class<?> of;
    /** What is written as JSON, in order: methods and fields. */
    private final Map<String, AccessibleObject> getters;
    private final Map<String, Setter> setters = new HashMap<>();
    /** The same by names in small letters: events spell some of their names otherwise than classes do. */
    private final Map<String, Setter> folded = new HashMap<>();

    private Bean(Class<?> of) {
        this.of = of;
        Map<String, AccessibleObject> found = new TreeMap<>();
        for (Field field : of.getFields()) {
            if (!Modifier.isStatic(field.getModifiers())) {
                found.put(field.getName(), open(field));
                if (!Modifier.isFinal(field.getModifiers())) {
                    setters.put(field.getName(), new Setter(field.getName(), open(field)));
                }
            }
        }
        for (Method visible : of.getMethods()) {
            Method method = original(visible);
            if (method == null
                    || Modifier.isStatic(method.getModifiers())
                    || method.getDeclaringClass() == Object.class) {
                continue;
            }
            String getter = of.isRecord() ? component(method) : getter(method);
            if (getter != null) {
                found.put(getter, open(method));
            }
            if (method.getParameterCount() == 1 && named(method.getName(), "set")) {
                String name = decapitalise(method.getName().substring(3));
                Setter other = setters.get(name);
                if (other == null || other.method == null || fits(method, name, found)) {
                    setters.put(name, new Setter(name, open(method)));
                }
            }
        }
        getters = inOrderOfFields(of, found);
        for (Map.Entry<String, Setter> one : setters.entrySet()) {
            folded.put(one.getKey().toLowerCase(Locale.ROOT), one.getValue());
        }
    }

    static Bean of(Class<?> type) {
        Bean known = KNOWN.get(type);
        if (known == null) {
            known = new Bean(type);
            KNOWN.put(type, known);
        }
        return known;
    }

    /**
     * A method as it was written. The compiler repeats public methods of a class that is not public in its public subclasses,
     * without their generic types; it also makes methods of less precise types, for which this is null.
     */
    static Method original(Method method) {
        if (!method.isBridge()) {
            return method;
        }
        for (Class<?> above = method.getDeclaringClass().getSuperclass(); above != null; above = above.getSuperclass()) {
            for (Method other : above.getDeclaredMethods()) {
                boolean same = other.getName().equals(method.getName()) && other.getReturnType() == method.getReturnType();
                if (same && !other.isBridge() && Arrays.equals(other.getParameterTypes(), method.getParameterTypes())) {
                    return other;
                }
            }
        }
        return null;
    }

    /** Of several setters, the one of the getter's type. */
    private static boolean fits(Method setter, String name, Map<String, AccessibleObject> getters) {
        AccessibleObject getter = getters.get(name);
        Class<?> type = setter.getParameterTypes()[0];
        return getter instanceof Method && ((Method) getter).getReturnType() == type;
    }

    private static String getter(Method method) {
        Class<?> type = method.getReturnType();
        if (method.getParameterCount() != 0 || type == void.class) {
            return null;
        }
        String name = method.getName();
        if (named(name, "get")) {
            return decapitalise(name.substring(3));
        }
        boolean isBoolean = type == boolean.class || type == Boolean.class;
        return isBoolean && named(name, "is") ? decapitalise(name.substring(2)) : null;
    }

    private static String component(Method method) {
        for (java.lang.reflect.RecordComponent component : method.getDeclaringClass().getRecordComponents()) {
            if (component.getAccessor().equals(method)) {
                return component.getName();
            }
        }
        return null;
    }

    private static boolean named(String name, String prefix) {
        return name.length() > prefix.length()
                && name.startsWith(prefix)
                && !Character.isLowerCase(name.charAt(prefix.length()));
    }

    /** All capital letters at the start become small: {@code getURL} reads the property {@code url}. */
    private static String decapitalise(String name) {
        int capitals = 0;
        while (capitals < name.length() && Character.isUpperCase(name.charAt(capitals))) {
            capitals++;
        }
        return name.substring(0, capitals).toLowerCase(Locale.ROOT) + name.substring(capitals);
    }

    /** Order of methods is not that of the source; that of fields is. */
    private static Map<String, AccessibleObject> inOrderOfFields(Class<?> of, Map<String, AccessibleObject> found) {
        Map<String, AccessibleObject> ordered = new LinkedHashMap<>();
        java.util.ArrayDeque<Class<?>> classes = new java.util.ArrayDeque<>();
        for (Class<?> one = of; one != null && one != Object.class; one = one.getSuperclass()) {
            classes.push(one);
        }
        for (Class<?> one : classes) {
            for (Field field : one.getDeclaredFields()) {
                AccessibleObject getter = found.remove(field.getName());
                if (getter != null) {
                    ordered.put(field.getName(), getter);
                }
            }
        }
        ordered.putAll(found);
        return ordered;
    }

    /** Members of a class that is not public are used all the same. */
    private static <T extends AccessibleObject> T open(T member) {
        member.trySetAccessible();
        return member;
    }

    Iterable<Map.Entry<String, AccessibleObject>> properties() {
        return getters.entrySet();
    }

    static Object get(AccessibleObject getter, Object bean) throws Throwable {
        if (getter instanceof Field) {
            return ((Field) getter).get(bean);
        }
        try {
            return ((Method) getter).invoke(bean);
        } catch (InvocationTargetException error) {
            throw error.getCause();
        }
    }

    /** The setter of a name in JSON; null when there is none. */
    Setter setter(String name) {
        Setter setter = setters.get(name);
        return setter != null ? setter : folded.get(name.toLowerCase(Locale.ROOT));
    }

    /** A new object without properties. */
    Object make() throws Throwable {
        Constructor<?> constructor;
        try {
            constructor = open(of.getDeclaredConstructor());
        } catch (NoSuchMethodException error) {
            throw new Json.Malformed(
                    "Cannot construct instance of `" + of.getName() + "`: it has no constructor without parameters");
        }
        try {
            return constructor.newInstance();
        } catch (InvocationTargetException error) {
            throw error.getCause();
        } catch (InstantiationException error) {
            throw new Json.Malformed("Cannot construct instance of `" + of.getName() + "`: it is abstract");
        }
    }
}
