package com.amazonaws.services.lambda.runtime;

/** Where code without a {@link Context} finds the logger. */
public final class LambdaRuntime {
    private LambdaRuntime() {}

    public static LambdaLogger getLogger() {
        return neap.boot.Log.LOGGER;
    }
}
