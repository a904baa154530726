"""A registered model asked about photographs: in Python, on the command line, over HTTP."""
