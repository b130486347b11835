"""Our subwords are those of the ``tokenizers`` library for the bundled model's file, and end where its end."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from agent_memory_server.embeddings.subwords import Subwords

TEXTS = (
    "", " ", "  two  spaces ", "Hello, world!", "what did Ana paint in 2023?", "<s>", "a<s>b </s> c<unk>", "<s", "▁▁a ▁",
    "x" * 500, "東京タワー", "Größe", "a\u0301", "\x00", "\n\t", "🍕 and tea", "naïve café", "привет, мир", "don't", "ﷺ",
    "internationalisation of antidisestablishmentarianism",
)  # fmt: skip


@pytest.fixture(scope="module")
def file() -> Path:
    package = find_spec("wordllama")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "tokenizers" / "l2_supercat_tokenizer_config.json"


@pytest.fixture(scope="module")
def theirs(file: Path) -> Tokenizer:
    return Tokenizer.from_file(str(file))


@pytest.fixture(scope="module")
def ours(file: Path) -> Subwords:
    return Subwords.of_file(orjson.loads(file.read_bytes()))


def check(text: str, ours: Subwords, theirs: Tokenizer) -> None:
    """Raw bytes and controls are left out of ours: nothing is known of them."""
    known = ours.known(40_000)
    encoding = theirs.encode(text, add_special_tokens=False)
    wanted = [(each, end - 1) for each, (_, end) in zip(encoding.ids, encoding.offsets, strict=True) if known[each]]
    assert [(each, last) for each, last in ours.placed(text) if known[each]] == wanted
    assert ours.ids(text) == [each.id for each in ours.placed(text)]


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_subwords(text: str, ours: Subwords, theirs: Tokenizer) -> None:
    """Words, white space, controls that are spelled out, marks in the text, and scripts beyond the vocabulary."""
    check(text, ours, theirs)


@given(text=st.text(alphabet=st.sampled_from("abeinorst AEIT.,'-0127éü▁<>/s東京т🎉\n"), max_size=60))
def test_the_same_subwords_of_any_text(text: str, ours: Subwords, theirs: Tokenizer) -> None:
    """Also where nobody would write like this."""
    check(text, ours, theirs)


def test_a_word_without_end_takes_no_time_without_end(ours: Subwords) -> None:
    """Twice as long a word takes about twice as long, not four times."""

    def spent_s(length: int) -> float:
        begun = time.process_time()
        ours.ids("ab" * length)
        return time.process_time() - begun

    assert spent_s(40_000) < 3.0 * spent_s(20_000) + 0.05


@pytest.mark.parametrize(
    "model",
    [
        {"type": "WordPiece", "vocab": {}, "merges": []},
        {"type": "BPE", "vocab": {"a": 0}, "merges": []},
        {"type": "BPE", "vocab": {"a▁b": 0}, "merges": [], "byte_fallback": True},
    ],
)
def test_another_kind_of_vocabulary_is_refused(model: dict[str, object]) -> None:
    """It would be cut up wrongly, and nobody would notice."""
    with pytest.raises(ValueError, match="vocabulary"):
        Subwords.of_file({"model": model})
