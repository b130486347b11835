"""Adapters that turn text into vectors. ``opening.open_embedder`` picks one; each imports its libraries when it is opened."""
