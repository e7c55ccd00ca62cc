"""Samplers that come in the box."""
