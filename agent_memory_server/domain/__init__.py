"""Data and pure rules: no I/O, no clock, no settings, no vendor library but numpy, the stemmer and,
in ``extraction_rules.dates`` alone, dateparser."""
