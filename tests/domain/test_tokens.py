"""A text and a query about it meet in at least one term, in any script; and nobody's text takes long."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.domain.tokens import (
    QUERY_TERMS_MAX,
    STOP_WORDS,
    TERM_LENGTH_MAX,
    index_tokens,
    query_tokens,
    telling_spans,
)


def meets(query: str, text: str) -> bool:
    return not set(query_tokens(query)).isdisjoint(index_tokens(text))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("painting", "She painted a lake"),
        ("ANA", "Ana's cat"),
        ("obrien", "Mr O’Brien called"),
        ("cafe", "the Café de Flore"),
        ("eau", "de l'eau fraîche"),
        ("strasse", "Lange Straße 5"),
        ("123", "Nr. １２３"),
        ("fine", "ﬁne weather"),
        ("猫", "黒猫が好きです"),
        ("東京 旅行", "去年、東京へ行きました"),
        ("トウキョウ", "ﾄｳｷｮｳ駅"),
        ("我喜欢喝茶", "他也喜欢茶"),
        ("세계", "안녕하세요 세계에"),
        ("ไทย", "ภาษาไทยสวยมาก"),
        ("лодка", "Лодка на воде"),
        ("елка", "Ёлка в лесу"),
        ("हिन्दी", "मुझे हिन्दी पसंद है"),
        ("مرحبا", "مَرْحَبًا بالعالم"),
        ("שלום", "שָׁלוֹם עולם"),
        ("🍕", "pizza night 🍕🎉"),
        ("👍", "great 👍🏽"),
        ("❤", "love ❤️"),
        ("🇩🇪", "from 🇩🇪 to 🇫🇷"),
    ],
)
def test_a_query_meets_the_text_it_is_about(query: str, text: str) -> None:
    """Inflection, case, accents, widths, possessives and scripts do not keep a query from its text."""
    assert meets(query, text)


def test_scripts_are_not_found_by_their_neighbours() -> None:
    """Flags and words stay whole: one flag does not match the letters of another."""
    assert not meets("🇫🇷", "from 🇩🇪")
    assert not meets("art", "a party")


def test_terms_are_counted_over_all_parts_of_a_memory() -> None:
    """The name, topics and entities of a memory count as its words do."""
    terms = index_tokens("Ana likes tea", "Ana", ["hot tea"], ["Ana"])
    assert terms == {"ana": 3, "like": 1, "tea": 2, "hot": 1}


def test_stop_words_leave_a_query_only_when_something_remains() -> None:
    """They say nothing beside telling words, and are all there is in a query of nothing else."""
    assert query_tokens("what did the cat do") == ("cat",)
    assert query_tokens("what is it") == ("what", "is", "it")
    assert query_tokens("Don't!") == ("dont",)


def test_stop_words_are_indexed() -> None:
    """A text of stop words alone is found by them."""
    assert meets("to be or not to be", "To be, or not to be")


def test_query_terms_are_distinct_in_order_and_bounded() -> None:
    """Repeating a word does not repeat its look-up, and ten thousand words are as many look-ups as the limit."""
    assert query_tokens("tea cake tea Cakes") == ("tea", "cake")
    assert len(query_tokens(" ".join(f"word{number}" for number in range(10_000)))) == QUERY_TERMS_MAX


@pytest.mark.parametrize("text", ["", "   ", "?!…", "\u200b\ufe0f", "\ud800", "'''"])
def test_nothing_to_look_up_is_an_empty_answer(text: str) -> None:
    """Punctuation, invisible characters and lone surrogates are no terms."""
    assert query_tokens(text) == ()
    assert index_tokens(text) == {}


def test_telling_spans_name_the_places_of_telling_words() -> None:
    """Spans are pieces of the text as it was typed, without those that hold only stop words."""
    text = "What did Ana's café-bar do?"
    assert [text[start:end] for start, end, _ in telling_spans(text)] == ["Ana's", "café-bar"]
    assert [terms for _, _, terms in telling_spans(text)] == [("ana",), ("cafe", "bar")]
    assert telling_spans("what is it") == []


@given(st.text(max_size=200))
def test_any_text_is_found_by_itself(text: str) -> None:
    """Whatever is typed, its query terms are among its index terms: nothing that has a term is unfindable."""
    assert set(query_tokens(text)) <= set(index_tokens(text))


@given(st.text(max_size=200))
def test_terms_are_short_and_not_empty(text: str) -> None:
    """A term is never empty and its length is bounded, for any Unicode text."""
    assert all(0 < len(term) <= 4 * (TERM_LENGTH_MAX + 1) for term in index_tokens(text))


@given(st.text(max_size=100))
def test_case_does_not_matter(text: str) -> None:
    """Folding is stable: a text in folded case has the same terms."""
    assert index_tokens(text.casefold()) == index_tokens(text)


def test_threads_agree() -> None:
    """Stemming from several threads at once gives what one thread gives."""
    words = [f"{stem}{ending}" for stem in ("walk", "paint", "nation") for ending in ("s", "ed", "ing", "ally")] * 50
    text = " ".join(f"{word}x{number}" for number, word in enumerate(words))
    with ThreadPoolExecutor(4) as pool:
        assert all(terms == index_tokens(text) for terms in pool.map(index_tokens, [text] * 20))


@pytest.mark.parametrize("unit", ["a", "ab ", "é", "日", "\u0301", "🍕", "'", "a'", "ก", "\u200d"])
def test_hundred_thousand_characters_take_no_time(unit: str) -> None:
    """Tokenising is linear: the longest text that is accepted takes well under a second, whatever it is made of."""
    text = unit * (100_000 // len(unit))
    index_tokens("é")
    started = time.process_time()
    index_tokens(text)
    query_tokens(text)
    telling_spans(text)
    assert time.process_time() - started < 2.0


def test_stop_words_are_written_as_they_are_compared() -> None:
    """The list holds folded words without apostrophes, as the look-up sees them."""
    assert all(word.isascii() and word.isalpha() and word.islower() for word in STOP_WORDS)
