"""Files that people have elsewhere, read into what this server keeps. Nothing here writes to a store."""
