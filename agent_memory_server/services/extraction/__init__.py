"""From messages to memories: batches of a thread, strategies by model or by rules, records, commit, marks."""
