"""What history costs: the journal's share of a write, reading one history among a million operations, and looking back.

``python -m benchmarks.history`` works on the embedded engine alone, in a temporary folder. The million operations are written
into the closed file, because writing each by itself would take a quarter of an hour; what is measured goes through the services.
"""
