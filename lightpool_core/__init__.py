"""The engine of lightpool: knows no terminal and imports no plugin."""
