"""Photographs as arrays: files found and decoded once, the cache that holds them, batches of it."""
