"""Documents of earlier states are decoded once, and only what was asked for again is had from before."""

from __future__ import annotations

from agent_memory_server.stores.decoded_states import DecodedStates


def test_a_document_is_decoded_once() -> None:
    """Also when there is nothing in it; another document is another one."""
    seen: list[str] = []

    def decode(document: str) -> str | None:
        seen.append(document)
        return document or None

    states = DecodedStates(decode)
    states.renew()
    assert not states.has("")
    assert [states.decoded(each) for each in ("", "a", "", "a", "b")] == [None, "a", None, "a", "b"]
    states.renew()
    assert states.has("")
    assert seen == ["", "a", "b"]


def test_what_is_kept_is_bounded() -> None:
    """However many documents there are, the last one is there and most of the others are not."""
    states = DecodedStates(len)
    for number in range(10_000):
        states.decoded("x" * 10 + str(number))
    assert states.has("x" * 10 + "9999")
    assert sum(states.has("x" * 10 + str(number)) for number in range(10_000)) <= 4_096
