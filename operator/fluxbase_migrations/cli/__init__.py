"""The command lines: ``fluxbase-migrate`` and ``kubectl fluxbase``."""
