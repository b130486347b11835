"""Adapters of ``ports.task_queue``: events within this process, or Docket over a Redis that workers share."""
