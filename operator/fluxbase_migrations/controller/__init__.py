"""The operator: watches, lets ``decisions`` decide, and writes Jobs, status and Events. Sees no database."""
