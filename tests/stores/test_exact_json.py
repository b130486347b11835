"""The fast parser of import lines says exactly what JSON says, or nothing."""

from __future__ import annotations

import json

import pytest

from agent_memory_server.stores.values import exact_json


@pytest.mark.parametrize(
    "written",
    [
        b'{"n": 18446744073709551615, "least": -9223372036854775808}',
        b'{"f": [0.1, 1e15, -2.5], "deep": {"a": [{"b": 5e-324}]}}',
        '{"text": "h\u00e9llo \u4e16\u754c", "twice": 1, "twice": 2}'.encode(),
        b'\t{"spaces": [ ] , "none": null}\r\n',
    ],
)
def test_equal(written: bytes) -> None:
    """What is read is what the standard library reads, types included."""
    assert repr(exact_json(written)) == repr(json.loads(written))


@pytest.mark.parametrize(
    "written",
    [
        b'{"n": 18446744073709551616}',
        b'{"deep": [{"n": [-9223372036854775809]}]}',
        b'{"n": 1e400}',
        b'{"n": NaN}',
        b'{"text": "\\ud800"}',
        b'\xef\xbb\xbf{"after": "a mark of the byte order"}',
        b'{"text": "\xff"}',
        b"{",
        b"18446744073709551616",
    ],
)
def test_refused(written: bytes) -> None:
    """Whatever the parser would round or does not take is refused, so that an exact reader has its turn."""
    with pytest.raises(ValueError, match=r".+"):
        exact_json(written)
