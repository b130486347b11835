"""Data and pure rules: no I/O, no clock, no settings, no vendor library but numpy and the stemmer."""
