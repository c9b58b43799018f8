"""Watches, and the store and queue that they fill."""
