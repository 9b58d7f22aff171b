package neap.boot;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON text to and from maps, lists, strings, numbers and booleans. Objects of other classes are {@link Reader}'s and {@link
 * Writer}'s business.
 */
final class Json {
    /** Objects and arrays within each other; deeper ones are refused before they exhaust the stack. */
    static final int DEPTH_MAX = 1000;

    /** A number as it was written: how precise it must be is known by whoever takes it. */
    static final class Num {
        final String text;

        Num(String text) {
            this.text = text;
        }

        boolean isWhole() {
            return text.indexOf('.') < 0 && text.indexOf('e') < 0 && text.indexOf('E') < 0;
        }

        /** The smallest usual class that holds it. */
        Number natural() {
            if (!isWhole()) {
                return Double.valueOf(text);
            }
            if (text.length() < 19) {
                long value = Long.parseLong(text);
                if (value == (int) value) {
                    return (int) value;
                }
                return value;
            }
            BigInteger value = new BigInteger(text);
            if (value.bitLength() < 64) {
                return value.longValue();
            }
            return value;
        }

        BigDecimal decimal() {
            return new BigDecimal(text);
        }

        @Override
        public String toString() {
            return text;
        }
    }

    /** A text that is no JSON. */
    static final class Malformed extends RuntimeException {
        private static final long serialVersionUID = 1;

        Malformed(String message) {
            super(message);
        }
    }

    private final String text;
    private int at;
    private int depth;

    private Json(String text) {
        this.text = text;
    }

    /** The value of a whole text; numbers are {@link Num}. */
    static Object parse(String text) {
        Json json = new Json(text);
        json.space();
        Object value = json.value();
        json.space();
        if (json.at < text.length()) {
            throw json.unexpected();
        }
        return value;
    }

    /** The text of a value. */
    static String write(Object value) {
        StringBuilder out = new StringBuilder();
        new Writer(out).write(value);
        return out.toString();
    }

    private Malformed unexpected() {
        if (at >= text.length()) {
            return new Malformed("Unexpected end of the input at character " + at);
        }
        return new Malformed("Unexpected character '" + text.charAt(at) + "' at character " + at);
    }

    private void space() {
        while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private char peek() {
        if (at >= text.length()) {
            throw unexpected();
        }
        return text.charAt(at);
    }

    private void expect(char c) {
        if (peek() != c) {
            throw unexpected();
        }
        at++;
    }

    private Object value() {
        switch (peek()) {
            case '{':
                return object();
            case '[':
                return array();
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw unexpected();
        }
        at += word.length();
        return value;
    }

    private void deeper() {
        if (++depth > DEPTH_MAX) {
            throw new Malformed("More than " + DEPTH_MAX + " objects and arrays within each other");
        }
        at++;
        space();
    }

    private Map<String, Object> object() {
        Map<String, Object> object = new LinkedHashMap<>();
        deeper();
        if (peek() != '}') {
            while (true) {
                if (peek() != '"') {
                    throw unexpected();
                }
                String name = string();
                space();
                expect(':');
                space();
                object.put(name, value());
                space();
                if (peek() == '}') {
                    break;
                }
                expect(',');
                space();
            }
        }
        at++;
        depth--;
        return object;
    }

    private List<Object> array() {
        List<Object> array = new ArrayList<>();
        deeper();
        if (peek() != ']') {
            while (true) {
                array.add(value());
                space();
                if (peek() == ']') {
                    break;
                }
                expect(',');
                space();
            }
        }
        at++;
        depth--;
        return array;
    }

    private String string() {
        int start = ++at;
        while (at < text.length()) {
            char c = text.charAt(at);
            if (c == '"') {
                return text.substring(start, at++);
            }
            if (c == '\\') {
                return escaped(start);
            }
            if (c < ' ') {
                throw unexpected();
            }
            at++;
        }
        throw unexpected();
    }

    private String escaped(int start) {
        StringBuilder out = new StringBuilder(text.substring(start, at));
        while (at < text.length()) {
            char c = text.charAt(at);
            if (c == '"') {
                at++;
                return out.toString();
            }
            if (c < ' ') {
                throw unexpected();
            }
            at++;
            out.append(c == '\\' ? escape() : c);
        }
        throw unexpected();
    }

    private char escape() {
        char c = peek();
        int simple = "\"\\/bfnrt".indexOf(c);
        if (simple >= 0) {
            at++;
            return "\"\\/\b\f\n\r\t".charAt(simple);
        }
        if (c != 'u') {
            throw unexpected();
        }
        at++;
        int code = 0;
        for (int i = 0; i < 4; i++) {
            int digit = Character.digit(peek(), 16);
            if (digit < 0 || peek() > 'f') {
                throw unexpected();
            }
            code = code << 4 | digit;
            at++;
        }
        return (char) code;
    }

    private Num number() {
        int start = at;
        if (peek() == '-') {
            at++;
        }
        if (peek() == '0') {
            at++;
        } else {
            digits();
        }
        if (at < text.length() && text.charAt(at) == '.') {
            at++;
            digits();
        }
        if (at < text.length() && (text.charAt(at) == 'e' || text.charAt(at) == 'E')) {
            at++;
            if (peek() == '+' || peek() == '-') {
                at++;
            }
            digits();
        }
        return new Num(text.substring(start, at));
    }

    private void digits() {
        if (peek() < '0' || peek() > '9') {
            throw unexpected();
        }
        while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
            at++;
        }
    }
}
