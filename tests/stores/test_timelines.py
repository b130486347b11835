"""What is kept of the past of a selection: each state decoded once, within a bound, and for a minute at most."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Hashable, Sequence

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.records import Memory
from agent_memory_server.ports.journal import Earlier
from agent_memory_server.stores.timelines import Past, Timeline, Timelines
from tests.services.test_search import memory

ANA = ScopeSelector("default", None, "ana")
BOB = ScopeSelector("default", None, "bob")
_TEA = memory("tea", "tea")


def timeline(
    *changes: tuple[int, str | None], decoded: list[str] | None = None, is_whole: bool = True
) -> Timeline[str]:
    """Of one memory that is there, and of one that is gone."""

    def decode(document: str) -> Memory:
        if decoded is not None:
            decoded.append(document)
        return memory("tea", document)

    pasts: dict[Hashable, Past[str]] = {
        "tea": Past(_TEA.key, "handle", list(changes)),
        "gone": Past(None, None, [(5, None)]),
    }
    return Timeline(pasts, since=0, mark=(1,), decode=decode, is_whole=is_whole)


def texts(states: Sequence[Earlier]) -> list[str | None]:
    return [None if each.memory is None else each.memory.text for each in states]


def test_a_state_is_that_before_the_first_change_after_a_point() -> None:
    """It is decoded once for all points that it belongs to, and the same question has the same answer."""
    decoded: list[str] = []

    async def asked() -> None:
        told = timeline((1, None), (3, "first"), (7, "second"), decoded=decoded)
        assert texts(await told.at(0)) == [None]
        assert texts(await told.at(1)) == texts(await told.at(2)) == ["first"]
        assert texts(await told.at(3)) == ["second"]
        assert await told.at(7) == ()
        assert await told.at(2) is await told.at(2)

    asyncio.run(asked())
    assert decoded == ["first", "second"]


def test_many_states_are_read_elsewhere() -> None:
    """As many as would hold up the event loop: the answer is the same."""
    pasts: dict[Hashable, Past[str]] = {number: Past(_TEA.key, number, [(2, str(number))]) for number in range(1_500)}
    told = Timeline(pasts, since=0, mark=(), decode=lambda document: memory("tea", document))
    assert texts(asyncio.run(told.at(1))) == [str(number) for number in range(1_500)]


def test_what_is_kept_is_bounded() -> None:
    """The one that was read first goes first; what is too large by itself, or tells of one point alone, is not kept."""

    async def kept() -> None:
        timelines: Timelines[str] = Timelines(bytes_max=3 * timeline((1, "text")).size_bytes() // 2)
        timelines.keep(ANA, first := timeline((1, "text")))
        assert timelines.held(ANA) is first
        timelines.keep(BOB, second := timeline((1, "text")))
        assert (timelines.held(ANA), timelines.held(BOB)) == (None, second)
        for other in (timeline((1, "long" * 10_000)), timeline((1, "text"), is_whole=False)):
            timelines.keep(BOB, other)
            assert timelines.held(BOB) is None

    asyncio.run(kept())


def test_what_is_kept_is_let_go_without_a_question() -> None:
    """What somebody deletes for good does not stay in the memory of a process that nobody asks."""

    async def kept() -> None:
        timelines: Timelines[str] = Timelines(kept_s=0.0)
        told = timeline((1, "text"))
        timelines.keep(ANA, told)
        reference = weakref.ref(told)
        del told
        for _ in range(3):
            await asyncio.sleep(0)
        assert reference() is None

    asyncio.run(kept())
