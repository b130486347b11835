"""Adapters to language models. Each vendor's SDK is imported when its adapter is first opened."""
