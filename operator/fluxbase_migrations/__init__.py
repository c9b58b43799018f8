"""PostgreSQL migrations for Fluxbase: a golang-migrate compatible runner and its Kubernetes operator."""

__version__ = "0.1.0"
