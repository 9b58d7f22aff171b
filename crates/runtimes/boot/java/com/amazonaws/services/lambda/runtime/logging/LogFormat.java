package com.amazonaws.services.lambda.runtime.logging;

/** How records are written. */
public enum LogFormat {
    JSON,
    TEXT;

    public static LogFormat fromString(String name) {
        for (LogFormat format : values()) {
            if (format.name().equalsIgnoreCase(name)) {
                return format;
            }
        }
        throw new IllegalArgumentException("no log format is called " + name);
    }
}
