"""Deterministic texts whose words are as unevenly frequent as those of real language, so that keyword search is realistic.

Word ranks follow Zipf's law: the sixty commonest are English function words, the next few hundred plain English, and the
long tail of invented names makes rare terms. The same index gives the same text on every machine.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from random import Random

import numpy as np

VOCABULARY_SIZE = 50_000
_EXPONENT = 1.15
_BLOCK = 1_000
_SEED = 20_260_101

_FUNCTION_WORDS = """
    the to and a of in is that it for you was with on as have but be they at this not from or we are my had his her so
    when what about he she by one will would there their if out up who them no some more then could been into other its
""".split()  # noqa: SIM905 - quoted words read worse

_CONTENT_WORDS = """
    likes prefers wants bought visited works lives moved booked cooks plays reads speaks studies plans owns hates loves
    met asked called wrote finished started learned forgot remembers needs uses drinks eats runs swims travels drives
    tea coffee bread cheese soup rice pasta fish meat apple orange lemon sugar salt pepper wine beer juice water milk
    house garden kitchen window door table chair lamp book paper letter phone computer screen keyboard printer camera
    train bus plane ticket hotel beach mountain river lake forest city village street bridge station airport museum
    mother father sister brother friend neighbour teacher doctor dentist colleague manager client lawyer nurse child
    morning evening monday tuesday wednesday thursday friday saturday sunday january april june august october winter
    summer spring autumn week month year birthday wedding holiday meeting deadline project report budget contract
    invoice design server database backup release bug test python java rust network password account payment order
    dog cat horse bird piano guitar violin football tennis chess yoga running swimming cycling hiking skiing painting
    red blue green yellow black white small large old new cheap expensive quick slow quiet loud warm cold happy tired
    london paris berlin madrid rome lisbon vienna prague dublin oslo tokyo seoul delhi cairo lima boston chicago
    vegetarian vegan allergic nuts gluten lactose asthma insulin glasses knee back head sleep dream music film theatre
""".split()  # noqa: SIM905

_SYLLABLES = """
    ba ce di fo gu ha je ki lo mu na pe qui ro su ta ve wi xo yu za bri cla dro fle gri pla sto tra vin
""".split()  # noqa: SIM905


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """All words by rank, the commonest first."""
    words = dict.fromkeys([*_FUNCTION_WORDS, *_CONTENT_WORDS])
    for number in count():
        if len(words) >= VOCABULARY_SIZE:
            break
        words[_invented(number)] = None
    return tuple(words)


def text(index: int) -> str:
    """The memory text number ``index``: 8 to 24 words, about 100 characters."""
    return _block(index // _BLOCK)[index % _BLOCK]


def query(index: int) -> str:
    """A question whose answer is the text number ``index``: four of its words among those of any question."""
    words = [word for word in dict.fromkeys(text(index).split()) if word not in _FUNCTION_WORDS]
    picked = Random(index).sample(words, min(4, len(words)))
    return f"what do you know about {' '.join(picked)}"


def topic(index: int) -> str:
    """One of fifty topics."""
    return _CONTENT_WORDS[index % 50]


def passage(index: int, length: int) -> str:
    """Text of exactly ``length`` characters: a message of a conversation."""
    joined = ""
    for number in count(index * 7):
        joined = f"{joined} {text(number)}".strip()
        if len(joined) >= length:
            return joined[: length - 1] + "."
    raise AssertionError("unreachable")


@lru_cache(maxsize=8)
def _block(number: int) -> tuple[str, ...]:
    words = vocabulary()
    generator = np.random.default_rng((_SEED, number))
    lengths = generator.integers(8, 25, size=_BLOCK)
    ranks = np.searchsorted(_cumulative(), generator.random(int(lengths.sum())))
    texts: list[str] = []
    first = 0
    for length in lengths.tolist():
        picked: list[int] = ranks[first : first + length].tolist()
        texts.append(" ".join([words[rank] for rank in picked]))
        first += length
    return tuple(texts)


@lru_cache(maxsize=1)
def _cumulative() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    weights = 1.0 / np.arange(1, VOCABULARY_SIZE + 1) ** _EXPONENT
    return np.cumsum(weights / weights.sum())[:-1]


def _invented(number: int) -> str:
    parts = [_SYLLABLES[number % len(_SYLLABLES)]]
    number //= len(_SYLLABLES)
    while number or len(parts) < 3:
        parts.append(_SYLLABLES[number % len(_SYLLABLES)])
        number //= len(_SYLLABLES)
    return "".join(parts)
