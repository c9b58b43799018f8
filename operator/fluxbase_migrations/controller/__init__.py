"""The operator: watches, decides by core, and writes Jobs, status and Events. Sees no database."""
