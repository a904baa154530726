"""Queued experiments on a Ray cluster."""
