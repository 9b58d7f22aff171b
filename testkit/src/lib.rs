//! Fakes and harness for tests.
