"""From run to champion and back to where a version came from."""
