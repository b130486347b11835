"""Shipped helps for tests of what is built on this server. They need ``httpx``."""
