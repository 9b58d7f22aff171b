package neap.boot;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;

/** What {@link Json#parse} made, as objects of the types that handlers declare. */
final class Reader {
    private Reader() {}

    /** @throws Json.Malformed when the value is none of {@code type}; whatever the objects' own code throws */
    static Object read(Object value, Type type) throws Throwable {
        Class<?> raw = Types.raw(type);
        if (value == null) {
            return nothing(raw);
        }
        if (raw == Object.class || raw == java.io.Serializable.class) {
            return natural(value);
        }
        if (raw == Optional.class) {
            return Optional.ofNullable(read(value, Types.arguments(type, Optional.class)[0]));
        }
        if (value instanceof Map) {
            return object((Map<?, ?>) value, type, raw);
        }
        if (value instanceof List) {
            return list((List<?>) value, type, raw);
        }
        return scalar(value, raw);
    }

    /** Numbers as the language's own. Changes maps and lists in place: nobody else has them. */
    @SuppressWarnings("unchecked")
    private static Object natural(Object value) {
        if (value instanceof Json.Num) {
            return ((Json.Num) value).natural();
        }
        if (value instanceof Map) {
            for (Map.Entry<String, Object> entry : ((Map<String, Object>) value).entrySet()) {
                entry.setValue(natural(entry.getValue()));
            }
        } else if (value instanceof List) {
            List<Object> list = (List<Object>) value;
            for (int i = 0; i < list.size(); i++) {
                list.set(i, natural(list.get(i)));
            }
        }
        return value;
    }

    private static Object nothing(Class<?> raw) {
        if (raw == Optional.class) {
            return Optional.empty();
        }
        if (!raw.isPrimitive() || raw == void.class) {
            return null;
        }
        return Array.get(Array.newInstance(raw, 1), 0);
    }

    private static Json.Malformed cannot(Class<?> raw, Object value) {
        String what =
                value instanceof Map
                        ? "an object"
                        : value instanceof List
                                ? "an array"
                                : value instanceof String
                                        ? "the string \"" + shortened((String) value) + "\""
                                        : value instanceof Boolean ? "a boolean" : "the number " + shortened(value.toString());
        return new Json.Malformed("Cannot deserialize value of type `" + raw.getTypeName() + "` from " + what);
    }

    private static String shortened(String text) {
        return text.length() > 80 ? text.substring(0, 80) + "…" : text;
    }

    // ------------------------------------------------------------------------------------------------------- objects

    private static Object object(Map<?, ?> value, Type type, Class<?> raw) throws Throwable {
        if (Map.class.isAssignableFrom(raw)) {
            Type[] arguments = Types.arguments(type, Map.class);
            Map<Object, Object> map = newMap(raw);
            for (Map.Entry<?, ?> entry : value.entrySet()) {
                Object key = scalar(entry.getKey(), Types.raw(arguments[0]));
                map.put(key, read(entry.getValue(), arguments[1]));
            }
            return map;
        }
        if (raw.isRecord()) {
            return record(value, type, raw);
        }
        if (raw.isPrimitive() || raw.isArray() || raw.isEnum() || raw.getName().startsWith("java.")) {
            throw cannot(raw, value);
        }
        Bean bean = Bean.of(raw);
        Object object = bean.make();
        for (Map.Entry<?, ?> entry : value.entrySet()) {
            Bean.Setter setter = bean.setter((String) entry.getKey());
            if (setter != null) {
                Type property = Types.seen(setter.type, type, setter.declaring);
                setter.set(object, within(setter.name, raw, entry.getValue(), property));
            }
        }
        return object;
    }

    /** A property's value; an error names where it is. */
    private static Object within(String name, Class<?> owner, Object value, Type type) throws Throwable {
        try {
            return read(value, type);
        } catch (Json.Malformed error) {
            throw new Json.Malformed(error.getMessage() + " (through " + owner.getName() + "[\"" + name + "\"])");
        }
    }

    private static Object record(Map<?, ?> value, Type type, Class<?> raw) throws Throwable {
        Map<String, Object> folded = new LinkedHashMap<>();
        value.forEach((name, inner) -> folded.put(((String) name).toLowerCase(Locale.ROOT), inner));
        RecordComponent[] components = raw.getRecordComponents();
        Class<?>[] types = new Class<?>[components.length];
        Object[] arguments = new Object[components.length];
        for (int i = 0; i < components.length; i++) {
            String name = components[i].getName();
            types[i] = components[i].getType();
            Object inner = value.containsKey(name) ? value.get(name) : folded.get(name.toLowerCase(Locale.ROOT));
            arguments[i] = within(name, raw, inner, Types.seen(components[i].getGenericType(), type, raw));
        }
        Constructor<?> constructor = raw.getDeclaredConstructor(types);
        constructor.trySetAccessible();
        try {
            return constructor.newInstance(arguments);
        } catch (InvocationTargetException error) {
            throw error.getCause();
        }
    }

    @SuppressWarnings("unchecked")
    private static Map<Object, Object> newMap(Class<?> raw) throws Throwable {
        if (raw.isAssignableFrom(LinkedHashMap.class)) {
            return new LinkedHashMap<>();
        }
        if (raw.isAssignableFrom(TreeMap.class)) {
            return new TreeMap<>();
        }
        return (Map<Object, Object>) Bean.of(raw).make();
    }

    // ---------------------------------------------------------------------------------------------------------- lists

    private static Object list(List<?> value, Type type, Class<?> raw) throws Throwable {
        if (raw.isArray()) {
            Type element =
                    type instanceof GenericArrayType
                            ? ((GenericArrayType) type).getGenericComponentType()
                            : raw.getComponentType();
            Object array = Array.newInstance(raw.getComponentType(), value.size());
            for (int i = 0; i < value.size(); i++) {
                Array.set(array, i, read(value.get(i), element));
            }
            return array;
        }
        if (!Collection.class.isAssignableFrom(raw) && raw != Iterable.class) {
            throw cannot(raw, value);
        }
        Type element = Types.arguments(type, Iterable.class)[0];
        Collection<Object> collection = newCollection(raw);
        for (Object inner : value) {
            collection.add(read(inner, element));
        }
        return collection;
    }

    @SuppressWarnings("unchecked")
    private static Collection<Object> newCollection(Class<?> raw) throws Throwable {
        if (raw.isAssignableFrom(ArrayList.class)) {
            return new ArrayList<>();
        }
        if (raw.isAssignableFrom(LinkedHashSet.class)) {
            return new LinkedHashSet<>();
        }
        if (raw.isAssignableFrom(TreeSet.class)) {
            return new TreeSet<>();
        }
        if (raw.isAssignableFrom(ArrayDeque.class)) {
            return new ArrayDeque<>();
        }
        return (Collection<Object>) Bean.of(raw).make();
    }

    // -------------------------------------------------------------------------------------------------------- scalars

    private static Object scalar(Object value, Class<?> raw) throws Throwable {
        if (raw == String.class || raw == CharSequence.class || raw == Object.class) {
            return value.toString();
        }
        try {
            if (raw == boolean.class || raw == Boolean.class) {
                return bool(value);
            }
            if (raw.isPrimitive() && raw != char.class || Number.class.isAssignableFrom(raw)) {
                return number(value, raw);
            }
        } catch (NumberFormatException error) {
            throw cannot(raw, value);
        }
        if (raw.isEnum()) {
            return constant(value, raw);
        }
        if (value instanceof String) {
            return ofText((String) value, raw);
        }
        if (value instanceof Json.Num && (raw == Date.class || raw == Instant.class)) {
            return moment(((Json.Num) value).decimal(), raw);
        }
        throw cannot(raw, value);
    }

    private static Boolean bool(Object value) {
        if (value instanceof Boolean) {
            return (Boolean) value;
        }
        String text = value.toString();
        if (value instanceof String && ("true".equals(text) || "false".equals(text))) {
            return Boolean.valueOf(text);
        }
        if (value instanceof Json.Num && ((Json.Num) value).isWhole()) {
            return new BigInteger(text).signum() != 0;
        }
        throw cannot(Boolean.class, value);
    }

    private static Object number(Object value, Class<?> raw) {
        if (value instanceof Boolean) {
            throw cannot(raw, value);
        }
        String text = value.toString().trim();
        if (text.isEmpty()) {
            return nothing(raw);
        }
        if (raw == Number.class) {
            return new Json.Num(new BigDecimal(text).toString()).natural();
        }
        if (raw == double.class || raw == Double.class) {
            return Double.valueOf(text);
        }
        if (raw == float.class || raw == Float.class) {
            return Float.valueOf(text);
        }
        BigDecimal exact = new BigDecimal(text);
        if (raw == BigDecimal.class) {
            return exact;
        }
        // An exponent can make a number of a few characters too long for any memory.
        if (exact.precision() - exact.scale() > 10_000) {
            throw cannot(raw, value);
        }
        BigInteger whole = exact.toBigInteger();
        if (raw == BigInteger.class) {
            return whole;
        }
        int bits = whole.bitLength();
        if ((raw == long.class || raw == Long.class) && bits < 64) {
            return whole.longValue();
        }
        if ((raw == int.class || raw == Integer.class) && bits < 32) {
            return whole.intValue();
        }
        if ((raw == short.class || raw == Short.class) && bits < 16) {
            return whole.shortValue();
        }
        if ((raw == byte.class || raw == Byte.class) && bits < 8) {
            return whole.byteValue();
        }
        if (raw == java.util.concurrent.atomic.AtomicLong.class && bits < 64) {
            return new java.util.concurrent.atomic.AtomicLong(whole.longValue());
        }
        if (raw == java.util.concurrent.atomic.AtomicInteger.class && bits < 32) {
            return new java.util.concurrent.atomic.AtomicInteger(whole.intValue());
        }
        throw cannot(raw, value);
    }

    private static Object constant(Object value, Class<?> raw) {
        Object[] constants = raw.getEnumConstants();
        for (Object constant : constants) {
            if (((Enum<?>) constant).name().equals(value)) {
                return constant;
            }
        }
        if (value instanceof Json.Num && ((Json.Num) value).isWhole()) {
            BigInteger at = new BigInteger(value.toString());
            if (at.signum() >= 0 && at.compareTo(BigInteger.valueOf(constants.length)) < 0) {
                return constants[at.intValue()];
            }
        }
        throw cannot(raw, value);
    }

    private static Object ofText(String text, Class<?> raw) throws Throwable {
        if (raw == char.class || raw == Character.class) {
            if (text.length() == 1) {
                return text.charAt(0);
            }
            throw cannot(raw, text);
        }
        if (raw == byte[].class || raw == ByteBuffer.class) {
            byte[] bytes;
            try {
                bytes = Base64.getDecoder().decode(text);
            } catch (IllegalArgumentException error) {
                throw cannot(raw, text);
            }
            return raw == ByteBuffer.class ? ByteBuffer.wrap(bytes) : bytes;
        }
        if (raw == char[].class) {
            return text.toCharArray();
        }
        if (raw == Date.class) {
            try {
                return Date.from(java.time.OffsetDateTime.parse(text).toInstant());
            } catch (java.time.DateTimeException error) {
                throw cannot(raw, text);
            }
        }
        return byFactory(text, raw);
    }

    /** Seconds since 1970 with a fraction, as streams' events have it; whole ones beyond the year 5000 are milliseconds. */
    private static Object moment(BigDecimal time, Class<?> raw) {
        boolean isSeconds = time.abs().compareTo(BigDecimal.valueOf(100_000_000_000L)) < 0;
        BigDecimal ms = isSeconds ? time.movePointRight(3) : time;
        if (ms.abs().compareTo(BigDecimal.valueOf(Long.MAX_VALUE / 1000)) > 0) {
            throw new Json.Malformed("Cannot deserialize value of type `" + raw.getName() + "` from " + time);
        }
        return raw == Date.class ? new Date(ms.longValue()) : Instant.ofEpochMilli(ms.longValue());
    }

    /** Classes that are made of a text say how: times, identifiers, addresses, and packages' own. */
    private static Object byFactory(String text, Class<?> raw) throws Throwable {
        try {
            for (String name : new String[] {"parse", "fromString", "valueOf", "forName", "create"}) {
                for (Class<?> argument : new Class<?>[] {String.class, CharSequence.class}) {
                    Method method = factory(raw, name, argument);
                    if (method != null) {
                        return method.invoke(null, text);
                    }
                }
            }
            for (Class<?> argument : new Class<?>[] {String.class, Object.class}) {
                try {
                    Constructor<?> constructor = raw.getConstructor(argument);
                    if (!Modifier.isAbstract(raw.getModifiers())) {
                        return constructor.newInstance(text);
                    }
                } catch (NoSuchMethodException none) {
                    continue;
                }
            }
        } catch (InvocationTargetException error) {
            throw new Json.Malformed(cannot(raw, text).getMessage() + ": " + error.getCause());
        }
        throw cannot(raw, text);
    }

    private static Method factory(Class<?> raw, String name, Class<?> argument) {
        try {
            Method method = raw.getMethod(name, argument);
            boolean makes = Modifier.isStatic(method.getModifiers()) && raw.isAssignableFrom(method.getReturnType());
            return makes && method.trySetAccessible() ? method : null;
        } catch (NoSuchMethodException none) {
            return null;
        }
    }
}
