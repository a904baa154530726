"""Is a model still right where it is used? What came in, against what it was tested on."""
