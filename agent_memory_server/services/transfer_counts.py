"""What became of the records of a transfer, and how both sides compare: counts, and a few names of what needs a look."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from agent_memory_server.domain.transfer import Kind

EXAMPLES_MAX = 5


@dataclass(slots=True)
class Tally:
    """What happened to the records of one kind."""

    found: int = 0
    """Readable records in the source, at the last walk."""
    carried: int = 0
    updated: int = 0
    """Changed in the source since they were carried, and carried again."""
    kept: int = 0
    """Something else stands there in the target, or it was changed there: left as it is."""
    gone: int = 0
    """Deleted (or expired) in the target since they were carried: left so."""
    removed: int = 0
    """Deleted in the source since they were carried: deleted in the target too."""
    unreadable: int = 0
    notes: Counter[str] = field(default_factory=Counter[str])
    examples: list[str] = field(default_factory=list[str])
    """Names of some that were kept."""

    def add(self, part: Tally) -> None:
        """What became of one portion."""
        self.carried += part.carried
        self.updated += part.updated
        self.kept += part.kept
        self.gone += part.gone
        self.examples = [*self.examples, *part.examples][:EXAMPLES_MAX]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReport:
    tallies: dict[Kind, Tally]
    settled: bool
    """The last walk found nothing new. False: the source is written to, and another run will find more."""

    @property
    def carried_anything(self) -> bool:
        return any(each.carried or each.updated for each in self.tallies.values())


@dataclass(slots=True)
class Comparison:
    """How the records of one kind compare on both sides."""

    source: int = 0
    target: int = 0
    equal: int = 0
    changed: int = 0
    """Changed in the target since they were carried."""
    gone: int = 0
    """Deleted (or expired) in the target since they were carried."""
    unreadable: int = 0
    problems: int = 0
    examples: list[str] = field(default_factory=list[str])

    def add(self, part: Comparison) -> None:
        """How one portion compares."""
        self.equal += part.equal
        self.changed += part.changed
        self.gone += part.gone
        self.problems += part.problems
        self.examples = [*self.examples, *part.examples][:EXAMPLES_MAX]

    def problem(self, said: str) -> None:
        self.problems += 1
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    comparisons: dict[Kind, Comparison]

    @property
    def passed(self) -> bool:
        return all(each.problems == 0 for each in self.comparisons.values())
