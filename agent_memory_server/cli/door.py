"""The reference server's data carried over on the command line: looked at, carried, compared, and removed, in words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent_memory_server.cli.copy import verified
from agent_memory_server.cli.transfer_reports import print_readable, print_transfer, transfer_json
from agent_memory_server.errors import ConfigurationError

if TYPE_CHECKING:
    from agent_memory_server.config import Settings
    from agent_memory_server.domain.transfer import Kind
    from agent_memory_server.migrations import Door, DoorOptions
    from agent_memory_server.ports.transfer import Unreadable

QUARANTINE = "migrate-memories-quarantine.ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asked for. ``kinds`` None: everything."""

    dry_run: bool = False
    verify: bool = False
    prune: bool = False
    discard_queue: bool = False
    quarantine: str | None = None
    as_json: bool = False
    kinds: Sequence[Kind] | None = None


async def pass_through(settings: Settings, options: DoorOptions, wanted: Wanted) -> bool:
    """Do what was asked for; False when it is not complete, which was said then."""
    from agent_memory_server.domain.transfer import WHOLE_STORE
    from agent_memory_server.logs import configure_logging
    from agent_memory_server.migrations import look_through_door, open_door, refuse_unfinished

    configure_logging("WARNING" if settings.log_level == "INFO" else settings.log_level)
    kinds = tuple(wanted.kinds or WHOLE_STORE)
    if wanted.dry_run:
        async with look_through_door(settings, options) as door:
            told = await _looked(door, kinds, options, wanted)
    else:
        if wanted.prune:
            await refuse_unfinished(settings, options)
        async with open_door(settings, options, kinds=kinds) as door:
            told = (
                await _pruned(door, wanted)
                if wanted.prune
                else await _carried(door, wanted, whole=wanted.kinds is None)
            )
    if wanted.as_json:
        click.echo(json.dumps(told))
    return bool(told["done"])


# -- what is there ----------------------------------------------------------------------------------------------------


HELD = (
    "{count:,} tasks in the reference server's queue hold records that it acknowledged and stored nowhere else. Let its worker "
    "finish them and run this again; or say --discard-queue: then they go into {path} and out of the queue."
)


def _say_what_is_there(door: Door) -> None:
    seen = door.inventory
    if seen.others:
        examples = ", ".join(seen.other_examples)
        click.echo(f"  {seen.others:,} keys of other applications are left alone ({examples}).")


async def _looked(door: Door, kinds: Sequence[Kind], options: DoorOptions, wanted: Wanted) -> dict[str, Any]:
    """Read everything as a run would, and count."""
    from agent_memory_server.cli.progress import counting_kinds
    from agent_memory_server.ports.transfer import Unreadable
    from agent_memory_server.services.transfer_counts import Tally, TransferReport

    tallies = {kind: Tally() for kind in kinds}
    report = _Quarantine(wanted.quarantine)
    totals = {kind.value: door.inventory.found[kind] for kind in kinds}
    with counting_kinds("Reading", totals, quiet=wanted.as_json) as tell:
        for kind in kinds:
            after: str | None = None
            while True:
                portion = await door.source.walk(kind, after=after, limit=options.batch)
                for each in portion.records:
                    if isinstance(each, Unreadable):
                        tallies[kind].unreadable += 1
                        report(kind, each)
                    else:
                        tallies[kind].found += 1
                        tallies[kind].notes.update(each.notes)
                tell(kind.value, tallies[kind].found + tallies[kind].unreadable)
                after = portion.next
                if after is None:
                    break
    report.close()
    told = transfer_json(TransferReport(tallies=tallies, settled=True))
    if not wanted.as_json:
        where = "in place" if door.in_place else f"to {door.target_place}"
        click.echo(f"Would carry over {door.source.describe()} {where}:")
        print_readable(tallies)
        _say_vectors(door)
        _say_what_is_there(door)
        held = await door.held_tasks()
        if held:
            click.echo("  " + HELD.format(count=len(held), path=wanted.quarantine or QUARANTINE))
        if report.path is not None:
            click.echo(f"  {report.count:,} records cannot be read: {report.path} says why, one JSON object a line.")
        click.echo("No data was written.")
    return {"dry_run": True, "in_place": door.in_place, "transfer": told, "others": door.inventory.others, "done": True}


def _say_vectors(door: Door) -> None:
    model, dimensions = door.reading.vector_model, door.reading.vector_dimensions
    if model is not None and dimensions is not None:
        click.echo(
            f"  Vectors of {dimensions} dimensions are taken as those of {model}; --vectors embed makes them anew."
        )


# -- carrying ---------------------------------------------------------------------------------------------------------


async def _carried(door: Door, wanted: Wanted, *, whole: bool) -> dict[str, Any]:
    from agent_memory_server.cli.progress import counting_kinds

    transfer = door.transfer
    assert transfer is not None
    report = _Quarantine(wanted.quarantine)
    if not wanted.as_json:
        where = "in place" if door.in_place else f"to {transfer.target_place}"
        click.echo(f"{'Going on with' if transfer.is_resumed else 'Carrying over'} {transfer.source_place} {where}:")
        _say_vectors(door)
    totals = {kind.value: count for kind, count in transfer.totals.items()}
    with counting_kinds("Carrying", totals, quiet=wanted.as_json) as tell:
        done = await transfer.service.run(
            kinds=transfer.kinds,
            tell=lambda kind, count: tell(kind.value, count),
            quarantine=report,
            # Once old keys were removed, an absent one says nothing any more.
            removes="pruned_at" not in transfer.state,
        )
    if done.carried_anything:
        # What was compared before does not speak for it.
        await transfer.note(verified_at=None)
    held = await _handled_queue(door, wanted, report)
    report.close()
    is_done = done.settled and not held
    told: dict[str, Any] = {
        "transfer": transfer_json(done),
        "quarantine": report.path,
        "held_tasks": held,
        "done": is_done,
    }
    if not wanted.as_json:
        print_transfer(done, quarantine=report.path)
        _say_what_is_there(door)
    if not done.settled:
        if not wanted.as_json:
            click.echo("The reference server is still writing: stop it, then run this again to carry the rest.")
        return told
    if held:
        if not wanted.as_json:
            click.echo(HELD.format(count=held, path=wanted.quarantine or QUARANTINE))
        return told
    if not whole:
        if not wanted.as_json:
            click.echo("The sessions are carried over. Run agent-memory migrate-memories for everything else.")
        return told
    await transfer.note(finished_at=transfer.now().isoformat())
    await door.finish()
    if wanted.verify:
        told |= await verified(transfer, as_json=wanted.as_json)
    if not wanted.as_json and told["done"]:
        _say_what_is_next(door, is_verified=wanted.verify)
    return told


async def _handled_queue(door: Door, wanted: Wanted, report: _Quarantine) -> int:
    """How many tasks are left that only the reference server's worker can finish."""
    held = await door.held_tasks()
    if not held or not wanted.discard_queue:
        return len(held)
    from agent_memory_server.stores.reference.queue import told_of

    for task in held:
        report.line("tasks in the queue", f"{task.key} {task.entry}".strip(), "discarded on request", told_of(task))
    report.flush()
    await door.discard(held)
    if not wanted.as_json:
        click.echo(f"  {len(held):,} tasks were taken out of the reference server's queue; the report holds them.")
    return 0


def _say_what_is_next(door: Door, *, is_verified: bool) -> None:
    where = "" if door.in_place else f" with STORAGE_URL naming {door.target_place}"
    click.echo(f"Done: start the server{where}. The old keys are untouched.")
    if is_verified:
        click.echo("When you no longer need the way back to the reference server, --prune removes them.")
    else:
        click.echo("Run this again with --verify to compare both sides.")


# -- removing ---------------------------------------------------------------------------------------------------------


async def _pruned(door: Door, wanted: Wanted) -> dict[str, Any]:
    """Remove the old keys whose records stand in the target exactly as they are in the old keys now, or were carried so."""
    from agent_memory_server.cli.progress import counting_kinds
    from agent_memory_server.ports.transfer import Item

    transfer = door.transfer
    assert transfer is not None
    if transfer.state.get("verified_at") is None:
        raise ConfigurationError(
            "--prune removes nothing before a run with --verify has passed: run agent-memory migrate-memories --verify first."
        )
    await transfer.note(pruned_at=transfer.now().isoformat())
    removed: dict[str, int] = {}
    left: dict[str, int] = {}
    totals = {kind.value: count for kind, count in transfer.totals.items()}
    with counting_kinds("Removing", totals, quiet=wanted.as_json) as tell:
        # What refers to others goes first.
        for kind in reversed(transfer.kinds):
            removed[kind.value] = left[kind.value] = 0
            after: str | None = None
            while True:
                portion = await door.source.walk(kind, after=after, limit=200)
                refs = [each.ref for each in portion.records if isinstance(each, Item)]
                gone = (
                    await door.source.remove(kind, refs, _carried_check(transfer.service.are_carried, kind))
                    if refs
                    else 0
                )
                removed[kind.value] += gone
                left[kind.value] += len(portion.records) - gone
                tell(kind.value, removed[kind.value] + left[kind.value])
                after = portion.next
                if after is None:
                    break
    remaining = sum(left.values())
    if not remaining:
        await door.source.remove_leftovers((*door.indexes.names, door.session_index))
    if not wanted.as_json:
        click.echo(f"Removed from {transfer.source_place}:")
        for name, count in removed.items():
            if count or left[name]:
                rest = f", {left[name]:,} left" if left[name] else ""
                click.echo(f"  {name:<14} {count:>9,} old keys{rest}")
        if remaining:
            click.echo(
                "What is left cannot be read, or was written since it was carried over. Its lists and search indexes stay too."
            )
        else:
            click.echo("Nothing of the reference server's records is left; its search indexes are gone as well.")
    return {"removed": removed, "left": left, "done": True}


def _carried_check(are_carried: Callable[[Kind, Sequence[Any]], Any], kind: Kind) -> Callable[[Sequence[Any]], Any]:
    return lambda items: are_carried(kind, items)


# -- what cannot be read ----------------------------------------------------------------------------------------------


class _Quarantine:
    """A file of what could not be read, one JSON object a line; it is made when there is something to say."""

    def __init__(self, path: str | None) -> None:
        self._wanted = Path(path or QUARANTINE)
        self._file: Any = None
        self.count = 0

    @property
    def path(self) -> str | None:
        return None if self._file is None else str(self._wanted)

    def __call__(self, kind: Kind, unreadable: Unreadable) -> None:
        self.line(kind.value, unreadable.ref, unreadable.reason, dict(unreadable.found))

    def line(self, kind: str, key: str, reason: str, found: dict[str, Any]) -> None:
        if self._file is None:
            try:
                self._file = self._wanted.open("w", encoding="utf-8")
            except OSError as error:
                raise ConfigurationError(
                    f"{self._wanted} cannot be written ({error.strerror}): name another file with --quarantine."
                ) from error
        line = {"kind": kind, "key": key, "reason": reason, "found": found}
        self._file.write(json.dumps(line, ensure_ascii=True) + "\n")
        self.count += 1

    def flush(self) -> None:
        """On the disk before anything depends on it."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
