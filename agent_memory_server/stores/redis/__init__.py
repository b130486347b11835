"""The production engine: one Redis with its query engine, safe with many processes on it."""

from agent_memory_server.stores.redis.engine import open_redis

__all__ = ["open_redis"]
