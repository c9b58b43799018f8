"""What pending migrations would do to a database, before they run: locks, rewrites, what is lost.

From PostgreSQL's own grammar and the catalog alone; nothing is executed. Only ``fluxbase-migrate plan``
loads it.
"""
