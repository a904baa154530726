"""From files to the cache and the split: which files show one photograph, and where each goes."""
