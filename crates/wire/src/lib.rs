//! The AWS protocol families, signatures, and the operation table.
