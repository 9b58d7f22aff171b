//! Execution environments per runtime.
