"""The API server: requests, and what they are about."""
