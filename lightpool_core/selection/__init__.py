"""Which candidates join the pool."""
