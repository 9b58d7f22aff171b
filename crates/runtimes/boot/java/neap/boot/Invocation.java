package neap.boot;

import com.amazonaws.services.lambda.runtime.Client;
import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import java.util.LinkedHashMap;
import java.util.Map;

/** The context of one invocation. */
final class Invocation implements Context {
    private static final String GROUP = System.getenv("AWS_LAMBDA_LOG_GROUP_NAME");
    private static final String STREAM = System.getenv("AWS_LAMBDA_LOG_STREAM_NAME");
    private static final String NAME = System.getenv("AWS_LAMBDA_FUNCTION_NAME");
    private static final String VERSION = System.getenv("AWS_LAMBDA_FUNCTION_VERSION");
    private static final String TENANT = System.getenv("_NEAP_TENANT_ID");
    private static final int MEMORY = Integer.parseInt(System.getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));

    private final Channel.Event event;
    private final ClientContext clientContext;

    /** @throws RuntimeException when the caller's client context is no JSON object */
    Invocation(Channel.Event event) {
        this.event = event;
        clientContext = event.clientContext.isEmpty() ? null : new Caller(event.clientContext);
    }

    @Override
    public String getAwsRequestId() {
        return event.requestId;
    }

    @Override
    public String getLogGroupName() {
        return GROUP;
    }

    @Override
    public String getLogStreamName() {
        return STREAM;
    }

    @Override
    public String getFunctionName() {
        return NAME;
    }

    @Override
    public String getFunctionVersion() {
        return VERSION;
    }

    @Override
    public String getInvokedFunctionArn() {
        return event.arn;
    }

    /** No caller of Neap has an identity of Cognito. */
    @Override
    public CognitoIdentity getIdentity() {
        return NOBODY;
    }

    @Override
    public ClientContext getClientContext() {
        return clientContext;
    }

    @Override
    public int getRemainingTimeInMillis() {
        long left = event.deadlineMs - System.currentTimeMillis();
        return (int) Math.max(0, Math.min(left, Integer.MAX_VALUE));
    }

    @Override
    public int getMemoryLimitInMB() {
        return MEMORY;
    }

    @Override
    public LambdaLogger getLogger() {
        return Log.LOGGER;
    }

    @Override
    public String getTenantId() {
        return TENANT;
    }

    @Override
    public String getXrayTraceId() {
        return event.trace;
    }

    private static final CognitoIdentity NOBODY =
            new CognitoIdentity() {
                @Override
                public String getIdentityId() {
                    return "";
                }

                @Override
                public String getIdentityPoolId() {
                    return "";
                }
            };

    /** The parts of the client context, from its JSON. */
    private static final class Caller implements ClientContext {
        private final Client client;
        private final Map<String, String> custom;
        private final Map<String, String> environment;

        Caller(String json) {
            Object value = Json.parse(json);
            if (!(value instanceof Map)) {
                throw new Json.Malformed("The client context is no object");
            }
            Map<?, ?> fields = (Map<?, ?>) value;
            Map<String, String> about = texts(fields.get("client"));
            client = about == null ? null : new Application(about);
            custom = texts(fields.get("custom"));
            environment = texts(fields.get("env"));
        }

        /** Null when it is no object; what is no string in it is JSON. */
        private static Map<String, String> texts(Object value) {
            if (!(value instanceof Map)) {
                return null;
            }
            Map<String, String> texts = new LinkedHashMap<>();
            ((Map<?, ?>) value)
                    .forEach(
                            (name, inner) ->
                                    texts.put((String) name, inner instanceof String ? (String) inner : Json.write(inner)));
            return texts;
        }

        @Override
        public Client getClient() {
            return client;
        }

        @Override
        public Map<String, String> getCustom() {
            return custom;
        }

        @Override
        public Map<String, String> getEnvironment() {
            return environment;
        }
    }

    private static final class Application implements Client {
        private final Map<String, String> about;

        Application(Map<String, String> about) {
            this.about = about;
        }

        @Override
        public String getInstallationId() {
            return about.get("installation_id");
        }

        @Override
        public String getAppTitle() {
            return about.get("app_title");
        }

        @Override
        public String getAppVersionName() {
            return about.get("app_version_name");
        }

        @Override
        public String getAppVersionCode() {
            return about.get("app_version_code");
        }

        @Override
        public String getAppPackageName() {
            return about.get("app_package_name");
        }
    }
}
