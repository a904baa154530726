"""The built-in photographs: drawn fish, for a fresh clone that has none yet."""
