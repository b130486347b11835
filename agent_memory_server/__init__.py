"""A memory server for AI agents: working memory and long-term memory over REST and MCP."""

__version__ = "0.1.0"
