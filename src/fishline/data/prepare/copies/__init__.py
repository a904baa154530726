"""Which files show the same photograph, turned, mirrored, resized or recompressed."""
