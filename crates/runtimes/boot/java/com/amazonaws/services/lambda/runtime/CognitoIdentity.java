package com.amazonaws.services.lambda.runtime;

/** Who authorised the invocation by Amazon Cognito. */
public interface CognitoIdentity {
    String getIdentityId();

    String getIdentityPoolId();
}
