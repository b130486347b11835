"""The console: pages for people, rendered on the server. They call the same services as REST, with the same credentials."""
