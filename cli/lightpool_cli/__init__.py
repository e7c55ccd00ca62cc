"""The command line of lightpool."""

STOPPED = "stopped; nothing is lost: run the same command again to go on"
"""The last words of a command that a signal stops."""
