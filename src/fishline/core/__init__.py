"""What all other packages need: parameters, paths, errors, files, git, DVC. Imports no other."""
