"""What it takes to take data along, to take it in, to erase it, and to look back: on both engines.

``python -m benchmarks.transfer`` goes through the services, as a request or a command would, in a temporary folder and against a
Redis of its own. Beside exporting stand what a user would write otherwise: the same rows as plain JSON, and SQLite's own dump.
"""
