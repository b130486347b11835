"""Requests per second and latency of the real server over loopback, beside bare FastAPI routes in the same run.

``python -m benchmarks.serving`` starts the server as its own process on a temporary store (or on STORAGE_URL), loads it
through the API, and lets a load generator in another process drive it: N clients, each with one connection, each sending its
next request when its last was answered. Rounds of all scenarios and of their bare counterparts are interleaved; figures are
medians over rounds. The machine's noise moves single figures; the ratios hold better.
"""
