"""Programs that use the server as its users do."""
