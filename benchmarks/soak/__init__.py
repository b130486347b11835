"""Open check 20: mixed load for minutes. Errors, memory over time, and whether the background keeps up."""
