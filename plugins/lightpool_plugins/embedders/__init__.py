"""Embedders that come in the box."""
