"""What a database keeps about migrations: the version row and ``migrations.history``."""
