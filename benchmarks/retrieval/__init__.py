"""How well a server finds what was said, measured over its API: ``python -m benchmarks.retrieval DATA``."""
