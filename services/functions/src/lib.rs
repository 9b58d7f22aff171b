//! Lambda functions: their configuration, code, versions and invocation.
