"""How long a person waits for the console's pages in a store of some size."""
