package neap.boot;

import java.lang.reflect.AccessibleObject;
import java.lang.reflect.Array;
import java.nio.ByteBuffer;
import java.util.Base64;
import java.util.Calendar;
import java.util.Date;
import java.util.Map;
import java.util.Optional;

/** Objects to JSON. */
final class Writer {
    private final StringBuilder out;
    private int depth;

    Writer(StringBuilder out) {
        this.out = out;
    }

    void write(Object value) {
        if (value == null || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof CharSequence || value instanceof Character) {
            string(value.toString());
        } else if (value instanceof Number) {
            number((Number) value);
        } else if (value instanceof Json.Num) {
            out.append(value);
        } else if (value instanceof Enum) {
            string(((Enum<?>) value).name());
        } else if (value instanceof byte[]) {
            string(Base64.getEncoder().encodeToString((byte[]) value));
        } else if (value instanceof char[]) {
            string(new String((char[]) value));
        } else if (value instanceof ByteBuffer) {
            ByteBuffer bytes = ((ByteBuffer) value).duplicate();
            byte[] copy = new byte[bytes.remaining()];
            bytes.get(copy);
            string(Base64.getEncoder().encodeToString(copy));
        } else if (value instanceof Date) {
            out.append(((Date) value).getTime());
        } else if (value instanceof Calendar) {
            out.append(((Calendar) value).getTimeInMillis());
        } else if (value instanceof Optional) {
            write(((Optional<?>) value).orElse(null));
        } else {
            compound(value);
        }
    }

    private void compound(Object value) {
        if (++depth > Json.DEPTH_MAX) {
            throw new Json.Malformed(
                    "More than " + Json.DEPTH_MAX + " objects within each other; does one of them refer to itself?");
        }
        if (value instanceof Map) {
            map((Map<?, ?>) value);
        } else if (value instanceof java.util.Collection) {
            list((Iterable<?>) value);
        } else if (value.getClass().isArray()) {
            array(value);
        } else if (isOfTheLanguage(value.getClass())) {
            // Times, identifiers, addresses: their texts say all of them.
            string(value.toString());
        } else {
            bean(value);
        }
        depth--;
    }

    private static boolean isOfTheLanguage(Class<?> type) {
        return type.getName().startsWith("java.") || type.getName().startsWith("sun.");
    }

    private void map(Map<?, ?> map) {
        out.append('{');
        boolean first = true;
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            Object key = entry.getKey();
            name(key instanceof Enum ? ((Enum<?>) key).name() : String.valueOf(key), first);
            write(entry.getValue());
            first = false;
        }
        out.append('}');
    }

    private void list(Iterable<?> list) {
        out.append('[');
        boolean first = true;
        for (Object element : list) {
            if (!first) {
                out.append(',');
            }
            write(element);
            first = false;
        }
        out.append(']');
    }

    private void array(Object array) {
        out.append('[');
        for (int i = 0; i < Array.getLength(array); i++) {
            if (i > 0) {
                out.append(',');
            }
            write(Array.get(array, i));
        }
        out.append(']');
    }

    private void bean(Object bean) {
        out.append('{');
        boolean first = true;
        for (Map.Entry<String, AccessibleObject> property : Bean.of(bean.getClass()).properties()) {
            name(property.getKey(), first);
            Object value;
            try {
                value = Bean.get(property.getValue(), bean);
            } catch (Throwable error) {
                throw new IllegalStateException(
                        "Property `" + property.getKey() + "` of " + bean.getClass().getName() + ": " + error, error);
            }
            write(value);
            first = false;
        }
        out.append('}');
    }

    private void name(String name, boolean first) {
        if (!first) {
            out.append(',');
        }
        string(name);
        out.append(':');
    }

    private void number(Number number) {
        boolean isFloating = number instanceof Double || number instanceof Float;
        if (isFloating && !Double.isFinite(number.doubleValue())) {
            string(number.toString());
        } else {
            out.append(number);
        }
    }

    private void string(String text) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            int simple = "\"\\\b\f\n\r\t".indexOf(c);
            if (simple >= 0) {
                out.append('\\').append("\"\\bfnrt".charAt(simple));
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }
}
