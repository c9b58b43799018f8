"""The API server: requests, and the paths of its resources."""
