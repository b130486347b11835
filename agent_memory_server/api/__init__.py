"""The REST transport: parse, call one service, shape the answer. Nothing here decides about memories."""
