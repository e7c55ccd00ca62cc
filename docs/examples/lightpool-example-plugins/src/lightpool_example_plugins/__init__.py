"""One embedder and one sampler for lightpool."""
