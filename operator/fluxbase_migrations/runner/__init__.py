"""The migration engine: runs in the Job's pod and behind the command line; psycopg and core, nothing of Kubernetes."""
