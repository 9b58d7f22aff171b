//! SQL of budgets.

/// The schema.
pub(crate) const SCHEMA: &str = "
    ALTER TABLE usage ADD COLUMN memory_used_max INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE budgets (
        account TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL, changed_ms INTEGER NOT NULL,
        PRIMARY KEY (account, name)
    );
    CREATE TABLE budget_alerts (
        account TEXT NOT NULL, name TEXT NOT NULL, month INTEGER NOT NULL, percent INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (account, name, month, percent)
    );
";

/// Empties all tables.
pub(crate) const DELETE_ALL: &[&str] = &["DELETE FROM budgets", "DELETE FROM budget_alerts"];
