"""The command line of lightpool."""
