"""The MCP server: the same services as the REST API, as tools for agents."""
