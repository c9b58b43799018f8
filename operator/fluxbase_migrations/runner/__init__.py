"""The migration engine, in the Job's pod and behind the command line; nothing of Kubernetes."""
