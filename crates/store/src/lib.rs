//! Transactions on SQLite and PostgreSQL, migrations, leases; blobs on disk or S3-compatible storage.
