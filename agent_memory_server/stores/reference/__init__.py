"""The reference server's data in a Redis: read, decoded, and (once it was carried over and verified) removed. Never written."""
