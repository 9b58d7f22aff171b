package com.amazonaws.services.lambda.runtime;

/** What a handler is told about its invocation, function and environment. */
public interface Context {
    String getAwsRequestId();

    String getLogGroupName();

    String getLogStreamName();

    String getFunctionName();

    String getFunctionVersion();

    String getInvokedFunctionArn();

    CognitoIdentity getIdentity();

    /** Null when the caller gave none. */
    ClientContext getClientContext();

    /** Milliseconds until the invocation times out. */
    int getRemainingTimeInMillis();

    /** MiB. */
    int getMemoryLimitInMB();

    LambdaLogger getLogger();

    /** Null for functions whose tenants are not isolated. */
    default String getTenantId() {
        return null;
    }

    /** The tracing header of this invocation. */
    default String getXrayTraceId() {
        return null;
    }
}
