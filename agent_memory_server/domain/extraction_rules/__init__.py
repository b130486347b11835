"""Extraction without a language model: statements that people make about themselves, by rules, in English.

What the rules understand becomes one short sentence each, with "User" (or the speaker's name) as subject and its dates made
absolute; what they do not understand yields nothing. They know English only: text in other languages yields nothing, never
garbage. Questions, requests, suppositions, quotations, code and what assistants say yield nothing either. Pure and
deterministic: the same messages give the same memories, whatever the clock says. ``benchmarks/extraction`` measures them.
"""

from agent_memory_server.domain.extraction_rules.extraction import extract_by_rules
from agent_memory_server.domain.extraction_rules.model import RuleMemory

__all__ = ["RuleMemory", "extract_by_rules"]
