"""Within which cosine distance two memories may be duplicates, for each embedding model. The one place for these numbers.

Distances of one model mean nothing for another. 0.35 (at write) and 0.2 (compaction) are the wire contract's, for OpenAI's
text-embedding-3 models and whatever nobody has measured. Those of the local models were measured on labelled pairs of
paraphrases and look-alikes: ``python -m benchmarks.thresholds`` prints precision and recall for each threshold, and
docs/concepts/deduplication.md quotes it. A threshold only picks who is compared: the rules of ``sameness`` and a language model
decide, so it is set for recall at write, and tighter for what runs over everything.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateThresholds:
    """Cosine distances, 0..2."""

    at_write: float
    in_compaction: float


CONTRACT = DuplicateThresholds(at_write=0.35, in_compaction=0.2)
_WORDLLAMA = DuplicateThresholds(at_write=0.4, in_compaction=0.3)
_MINILM = DuplicateThresholds(at_write=0.25, in_compaction=0.15)
_MEASURED = {
    "wordllama": _WORDLLAMA,
    "minilm": _MINILM,
    "@7f13fa25": _MINILM,
}
"""By a part of the model's name. The last one is the fingerprint of all-MiniLM-L6-v2's weights, whatever its folder is called."""


def thresholds_for(model: str) -> DuplicateThresholds:
    """By the name that is stored with the model's vectors; the contract's for a model that was not measured."""
    lowered = model.lower()
    return next((found for name, found in _MEASURED.items() if name in lowered), CONTRACT)
