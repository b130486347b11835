"""What transfers print: one line for each kind of records, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agent_memory_server.domain.transfer import Kind
    from agent_memory_server.services.transfer_counts import Tally, TransferReport, VerificationReport


def print_counts(counts: Mapping[Kind, int], suffix: str = "") -> None:
    """One line for each kind that is there at all."""
    for kind, count in counts.items():
        if count:
            click.echo(f"  {kind.value:<14} {count:>9,}{suffix}")


def print_transfer(report: TransferReport, *, quarantine: str | None = None) -> None:
    for kind, tally in report.tallies.items():
        if not tally.found and not tally.unreadable and not tally.removed:
            continue
        parts = [f"{tally.carried:,} carried"]
        parts += _parts(
            (tally.updated, "carried again, as they had changed"),
            (tally.removed, "removed, as they had been deleted"),
            (tally.unreadable, "could not be read"),
            (tally.kept, "left as they are in the target"),
            (tally.gone, "deleted in the target since"),
        )
        before = tally.found - tally.carried - tally.updated - tally.kept - tally.gone
        if before > 0 and not tally.carried and not tally.updated:
            parts.append(f"{before:,} were there already")
        click.echo(f"  {kind.value:<14} {tally.found:>9,} read: {', '.join(parts)}")
        _print_notes(tally.notes)
        for example in tally.examples:
            click.echo(f"      left: {example}")
    if quarantine is not None:
        click.echo(f"What could not be read stays where it is; {quarantine} says why, one JSON object a line.")


def print_readable(tallies: Mapping[Kind, Tally]) -> None:
    """What a run would find."""
    for kind, tally in tallies.items():
        if tally.found or tally.unreadable:
            rest = f", {tally.unreadable:,} that cannot be read" if tally.unreadable else ""
            click.echo(f"  {kind.value:<14} {tally.found:>9,}{rest}")
            _print_notes(tally.notes)


def _print_notes(notes: Mapping[str, int]) -> None:
    for note, count in sorted(notes.items()):
        click.echo(f"      {count:,} {note}")


def print_verification(report: VerificationReport) -> None:
    for kind, each in report.comparisons.items():
        if not each.source and not each.target and not each.unreadable:
            continue
        parts = [f"{each.equal:,} equal"]
        parts += _parts(
            (each.changed, "changed in the target since"),
            (each.gone, "deleted or expired in the target since"),
            (each.unreadable, "cannot be read"),
            (each.problems, "NOT AS THEY SHOULD BE"),
        )
        sides = f"{each.source:>9,} in the source, {each.target:,} in the target"
        click.echo(f"  {kind.value:<14} {sides}: {', '.join(parts)}")
        for example in each.examples:
            click.echo(f"      {example}")


def _parts(*counted: tuple[int, str]) -> Iterable[str]:
    return [f"{count:,} {said}" for count, said in counted if count]


def transfer_json(report: TransferReport) -> dict[str, Any]:
    return {
        "settled": report.settled,
        "kinds": {
            kind.value: {
                "read": each.found,
                "carried": each.carried,
                "carried_again": each.updated,
                "removed": each.removed,
                "kept": each.kept,
                "deleted_since": each.gone,
                "unreadable": each.unreadable,
                "notes": dict(each.notes),
            }
            for kind, each in report.tallies.items()
        },
    }


def verification_json(report: VerificationReport) -> dict[str, Any]:
    return {
        "passed": report.passed,
        "kinds": {
            kind.value: {
                "source": each.source,
                "target": each.target,
                "equal": each.equal,
                "changed_since": each.changed,
                "deleted_since": each.gone,
                "unreadable": each.unreadable,
                "problems": each.problems,
                "examples": each.examples,
            }
            for kind, each in report.comparisons.items()
        },
    }
