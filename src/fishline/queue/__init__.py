"""DVC's queue of experiments, run on a Ray cluster."""
