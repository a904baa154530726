"""The command line: each command imports what it calls when it is called."""
