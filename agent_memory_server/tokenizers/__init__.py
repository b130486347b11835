"""Adapters that count language-model tokens. ``opening.open_tokenizer`` picks one; none ever touches the network."""
