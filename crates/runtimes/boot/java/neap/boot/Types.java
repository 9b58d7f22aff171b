package neap.boot;

import java.lang.reflect.GenericArrayType;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.util.HashMap;
import java.util.Map;

/** Questions about generic types. */
final class Types {
    private Types() {}

    /** The class of a type. */
    static Class<?> raw(Type type) {
        if (type instanceof Class) {
            return (Class<?>) type;
        }
        if (type instanceof ParameterizedType) {
            return (Class<?>) ((ParameterizedType) type).getRawType();
        }
        if (type instanceof GenericArrayType) {
            Class<?> element = raw(((GenericArrayType) type).getGenericComponentType());
            return java.lang.reflect.Array.newInstance(element, 0).getClass();
        }
        if (type instanceof WildcardType) {
            return raw(((WildcardType) type).getUpperBounds()[0]);
        }
        if (type instanceof TypeVariable) {
            return raw(((TypeVariable<?>) type).getBounds()[0]);
        }
        return Object.class;
    }

    /** What {@code type}, seen by {@code sub}, gives for the parameters of {@code target}, one of its supertypes. */
    static Type[] arguments(Type sub, Class<?> target) {
        Type found = as(sub, target);
        if (found instanceof ParameterizedType) {
            return ((ParameterizedType) found).getActualTypeArguments();
        }
        Type[] unknown = new Type[target.getTypeParameters().length];
        java.util.Arrays.fill(unknown, Object.class);
        return unknown;
    }

    /** {@code sub} as its supertype {@code target}; null when it is none. */
    private static Type as(Type sub, Class<?> target) {
        Class<?> raw = raw(sub);
        if (raw == target) {
            return sub;
        }
        if (!target.isAssignableFrom(raw)) {
            return null;
        }
        Map<TypeVariable<?>, Type> known = variables(sub);
        for (Type above : raw.getGenericInterfaces()) {
            Type found = as(resolve(above, known), target);
            if (found != null) {
                return found;
            }
        }
        Type above = raw.getGenericSuperclass();
        return above == null ? null : as(resolve(above, known), target);
    }

    /** The values of the type variables of a parameterised type's class. */
    static Map<TypeVariable<?>, Type> variables(Type type) {
        Map<TypeVariable<?>, Type> known = new HashMap<>();
        if (type instanceof ParameterizedType) {
            TypeVariable<?>[] names = raw(type).getTypeParameters();
            Type[] values = ((ParameterizedType) type).getActualTypeArguments();
            for (int i = 0; i < names.length; i++) {
                known.put(names[i], values[i]);
            }
        }
        return known;
    }

    /** {@code type}, a type in the source of {@code declaring}, as seen by {@code owner}, a subtype of that class. */
    static Type seen(Type type, Type owner, Class<?> declaring) {
        if (type instanceof Class) {
            return type;
        }
        Type as = as(owner, declaring);
        return resolve(type, as == null ? Map.of() : variables(as));
    }

    /** {@code type} with the variables replaced that are known. */
    private static Type resolve(Type type, Map<TypeVariable<?>, Type> known) {
        if (type instanceof TypeVariable) {
            Type value = known.get(type);
            return value == null ? raw(type) : value;
        }
        if (type instanceof WildcardType) {
            return resolve(((WildcardType) type).getUpperBounds()[0], known);
        }
        if (type instanceof GenericArrayType) {
            Type element = resolve(((GenericArrayType) type).getGenericComponentType(), known);
            return new ArrayOf(element);
        }
        if (type instanceof ParameterizedType) {
            Type[] arguments = ((ParameterizedType) type).getActualTypeArguments();
            Type[] resolved = new Type[arguments.length];
            for (int i = 0; i < arguments.length; i++) {
                resolved[i] = resolve(arguments[i], known);
            }
            return new Parameterized(raw(type), resolved);
        }
        return type;
    }

    private static final class ArrayOf implements GenericArrayType {
        private final Type element;

        ArrayOf(Type element) {
            this.element = element;
        }

        @Override
        public Type getGenericComponentType() {
            return element;
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof ArrayOf && ((ArrayOf) other).element.equals(element);
        }

        @Override
        public int hashCode() {
            return element.hashCode() + 1;
        }
    }

    private static final class Parameterized implements ParameterizedType {
        private final Class<?> raw;
        private final Type[] arguments;

        Parameterized(Class<?> raw, Type[] arguments) {
            this.raw = raw;
            this.arguments = arguments;
        }

        @Override
        public Type[] getActualTypeArguments() {
            return arguments.clone();
        }

        @Override
        public Type getRawType() {
            return raw;
        }

        @Override
        public Type getOwnerType() {
            return raw.getDeclaringClass();
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Parameterized
                    && ((Parameterized) other).raw == raw
                    && java.util.Arrays.equals(((Parameterized) other).arguments, arguments);
        }

        @Override
        public int hashCode() {
            return raw.hashCode() ^ java.util.Arrays.hashCode(arguments);
        }

        @Override
        public String toString() {
            return raw.getName() + java.util.Arrays.toString(arguments);
        }
    }
}
