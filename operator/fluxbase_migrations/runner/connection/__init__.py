"""The connection: where the database is, the session, the migration lock, signals, errors."""
