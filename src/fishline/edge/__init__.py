"""Models for where there is no Python."""
