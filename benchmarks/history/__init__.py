"""What history costs: the journal's share of a write, reading one history in a long journal, and looking back, on both engines.

``python -m benchmarks.history`` goes through the services, in a temporary folder and against a Redis of its own. The long journal
is written into the closed store, because writing each operation by itself would take a quarter of an hour.
"""
