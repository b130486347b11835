"""What the rules make of one message: true sentences about who wrote it, and nothing of everything else.

The benchmark's data set judges how well they read people's talk; these tests fix what they promise.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.domain.extraction_rules import RuleMemory, extract_by_rules
from agent_memory_server.domain.extraction_rules.extraction import CONTENT_CHARS_MAX, MEMORIES_PER_MESSAGE_MAX
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.sessions import Message

AT = datetime(2024, 5, 14, 10, tzinfo=UTC)
"""A Tuesday."""


def message(content: str, *, role: str = "user", name: str | None = None, at: datetime = AT, id: str = "m1") -> Message:
    return Message(id=id, role=role, content=content, created_at=at, name=name)


def extracted(content: str, *, role: str = "user", name: str | None = None) -> list[RuleMemory]:
    return extract_by_rules([message(content, role=role, name=name)])


def texts(content: str, *, role: str = "user", name: str | None = None) -> list[str]:
    return [memory.text for memory in extracted(content, role=role, name=name)]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("I am a nurse.", "User is a nurse."),
        ("I have two cats", "User has two cats."),
        ("I study law in Ghent", "User studies law in Ghent."),
        ("I go to the gym every day", "User goes to the gym every day."),
        ("I teach maths", "User teaches maths."),
        ("I do not eat fish", "User does not eat fish."),
        ("i dont like olives", "User does not like olives."),
        ("I've never been to Asia", "User has never been to Asia."),
        ("I no longer smoke cigars", "User no longer smokes cigars."),
        ("I can't drink milk", "User cannot drink milk."),
        ("We bought a house in Porto", "User bought a house in Porto."),
        ("I used to be a pilot", "User used to be a pilot."),
        ("I was diagnosed with ADHD", "User was diagnosed with ADHD."),
        ("im learning Japanese", "User is learning Japanese."),
    ],
)
def test_a_statement_is_told_in_the_third_person(said: str, sentence: str) -> None:
    """Verbs agree with the new subject, contractions open, and past forms stay."""
    assert texts(said) == [sentence]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("I live with my parents", "User lives with their parents."),
        ("My wife Ana works at Siemens", "User's wife Ana works at Siemens."),
        ("My wife and I are vegetarians", "User and their wife are vegetarians."),
        ("My parents live near my school", "User's parents live near User's school."),
        ("I have played the cello since I was seven", "User has played the cello since they were seven."),
        ("I'm blind and use a screen reader", "User is blind and uses a screen reader."),
        ("My mom is visiting me in Rome", "User's mom is visiting User in Rome."),
    ],
)
def test_pronouns_follow_the_subject(said: str, sentence: str) -> None:
    """What belonged to "me" belongs to the person named, also in subordinate clauses and after "and"."""
    assert texts(said) == [sentence]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("My name is Roberto Esposito", "User's name is Roberto Esposito."),
        ("call me Sam", "User wants to be called Sam."),
        ("I'm allergic to peanuts", "User is allergic to peanuts."),
        ("My son Theo is allergic to eggs", "User's son Theo is allergic to eggs."),
        ("My birthday is on march 3rd", "User's birthday is on march 3rd."),
        ("My favourite films are Alien and Heat", "User's favourite films are Alien and Heat."),
        ("I speak Spanish and Catalan", "User speaks Spanish and Catalan."),
        ("I prefer metric units", "User prefers metric units."),
        ("I'm a big fan of jazz", "User is a big fan of jazz."),
        ("I want to learn Rust", "User wants to learn Rust."),
        ("always write code with type hints", "User asks the assistant to always write code with type hints."),
        ("Please don't use emojis when you answer me.", "User asks the assistant not to use emojis when answering."),
        ("From now on keep your answers short", "User asks the assistant to keep its answers short."),
    ],
)
def test_each_kind_of_fact_is_known(said: str, sentence: str) -> None:
    """Names, health, people, preferences, languages, plans, and how answers are liked."""
    assert texts(said) == [sentence]


@pytest.mark.parametrize(
    "said",
    [
        "Do I live in Rome?",
        "I live in Rome?",
        "should I move to Canada",
        "If I lived in Berlin, I would pay less tax",
        "Suppose I have two dogs and I live in Rome",
        "Let's say I earn 60k",
        "I might move to Spain",
        "I would never live in Texas",
        "I wish I had a dog",
        "I'm probably allergic to nuts",
        "I was going to visit Paris",
        "In the story I am a knight and I live in a castle",
    ],
)
def test_questions_and_suppositions_are_no_facts(said: str) -> None:
    """What is not asserted is not remembered."""
    assert texts(said) == []


@pytest.mark.parametrize(
    "said",
    [
        'She told me "I live in Rome" yesterday',
        "He said I am lazy",
        "Customer wrote: I live in Boston and I hate your product.",
        "Alice: I love cats\nBob: I hate cats",
        "> I live in Boston",
        "Translate to French: I have a red car and my mother lives in Madrid.",
        "Please proofread the following text:\nI live in Rome with my wife.",
        "Here is my essay: I live in a small town and I love my dog.",
        "Act as my grandfather. I was born in 1920 in Warsaw.",
        "```\nI live in Rome\n```",
        "def f():\n    print('I live in', place)\n",
        "/remember I live in Rome",
        "$ echo I live in Rome;",
    ],
)
def test_the_words_of_others_and_code_are_no_facts(said: str) -> None:
    """Quotations, transcripts, material to work on, role play, code and commands are not the writer's statements."""
    assert texts(said) == []


@pytest.mark.parametrize(
    "said",
    [
        "thanks, that's perfect!",
        "I love that for you!",
        "I have a question about my bill",
        "I need help with my order",
        "I'm looking for a good book",
        "I'll check and get back to you",
        "I agree",
        "I'm so happy for you",
        "oh great, I just love being stuck in traffic 🙄",
        "I love it",
        "I made a mistake",
        "I have a list of names",
        "",
        "   \n",
        "🙂",
    ],
)
def test_small_talk_is_no_fact(said: str) -> None:
    """Nothing is better than a memory that nobody wants."""
    assert texts(said) == []


@pytest.mark.parametrize(
    "said",
    [
        "Ich wohne in München und arbeite bei Siemens.",
        "J'habite à Lyon avec ma femme et nos deux chats",
        "Yo vivo en Madrid y trabajo en un banco",
        "Io vivo a Roma e i bambini vanno a scuola",
        "我住在里斯本。",
        "Я живу в Москве",
    ],
)
def test_other_languages_yield_nothing(said: str) -> None:
    """The rules know English only, and say nothing rather than garbage."""
    assert texts(said) == []


def test_an_assistant_states_nothing() -> None:
    """Only messages of users are read: an assistant's "I" is nobody."""
    for role in ("assistant", "system", "tool"):
        assert texts("I live in Rome and I love pizza.", role=role) == []


def test_a_named_speaker_is_the_subject_and_an_entity() -> None:
    """In a chat of several people each fact is its speaker's."""
    (memory,) = extracted("My sister lives in Oslo", name="Aisha")
    assert memory.text == "Aisha's sister lives in Oslo."
    assert memory.entities == ("Aisha", "Oslo")


def test_a_negation_is_never_lost() -> None:
    """A fact and its negation never meet in the same words."""
    for said in (
        "I don't eat meat",
        "I'm not vegetarian",
        "I never drink wine",
        "I don't have a car",
        "I no longer live in Rome",
    ):
        for memory in extracted(said):
            assert {"not", "never", "no"} & set(memory.text.split()), memory.text


def test_a_long_message_yields_its_one_fact() -> None:
    """The rest of the talk is left alone."""
    said = (
        "The flight was cancelled, the airline put everybody in some hotel and nobody would tell us anything. It was chaos. "
        "Anyway, I have type 1 diabetes and my insulin was in the checked bag, so what are my rights here?"
    )
    assert texts(said) == ["User has type 1 diabetes."]


def test_what_stands_before_a_question_is_asserted() -> None:
    """A question often begins with the facts that it rests on."""
    assert texts("My daughter Emma is allergic to peanuts, what snacks can I pack?") == [
        "User's daughter Emma is allergic to peanuts."
    ]


def test_labels_hold_no_commas_and_few_topics() -> None:
    """Topics are at most three categories; entities are names, without the calendar's."""
    (memory,) = extracted("I moved to New York with my dog Rex in March 2021")
    assert memory.entities == ("New York", "Rex")
    assert set(memory.topics) == {"home", "pets"}
    (memory,) = extracted("I love Italian food", name="Smith, John")
    assert memory.entities == ("Smith John", "Italian")
    assert all("," not in tag for tag in memory.topics + memory.entities)


def test_a_memory_says_which_rule_made_it_and_from_what() -> None:
    """Each carries its rule, a confidence and the ids of its messages; a repeated fact carries all of them."""
    memories = extract_by_rules(
        [
            message("I love Italian food", id="a"),
            message("btw i love italian food!", id="b"),
            message("I live in Graz", id="c"),
        ]
    )
    assert [memory.message_ids for memory in memories] == [("a", "b"), ("c",)]
    assert memories[0].rule == "preference"
    assert all(0 < memory.confidence <= 1 for memory in memories)


def test_a_dated_statement_is_episodic() -> None:
    """What says when it happened is an event; what does not is a lasting fact."""
    dated, lasting = extracted("I moved to Lisbon last month. I love Lisbon")
    assert dated.memory_type is MemoryType.EPISODIC
    assert dated.event_date is not None
    assert lasting.memory_type is MemoryType.SEMANTIC
    assert lasting.event_date is None


def test_what_one_message_yields_is_bounded() -> None:
    """A pasted document is read up to a limit and gives at most so many memories."""
    facts = " ".join(f"I own {number} red boats." for number in range(2, 60))
    assert len(extracted(facts)) == MEMORIES_PER_MESSAGE_MAX
    assert texts("word " * (CONTENT_CHARS_MAX // 5) + ". I live in Graz.") == []


@given(st.text(max_size=400))
def test_any_text_is_read_without_error(said: str) -> None:
    """Whatever a client sends, the rules answer, and what they say is a sentence."""
    for memory in extracted(said):
        assert memory.text.endswith(".")


_PIECES = [
    *(
        "I",
        "my",
        "we",
        "wife",
        "have",
        "am",
        "was",
        "not",
        "to",
        "moved",
        "love",
        "Rome",
        "a",
        "the",
        "and",
        "but",
        "if",
    ),
    *(
        ",",
        ".",
        "?",
        "!",
        "last",
        "week",
        "on",
        "friday",
        "since",
        "2019",
        '"',
        ":",
        "-",
        "(",
        ")",
        "⟦0⟧",
        "⟦7⟧",
        "99999",
        "years",
        "ago",
    ),
]


@given(st.lists(st.sampled_from(_PIECES), max_size=25))
def test_any_mixture_of_known_words_is_read_without_error(pieces: list[str]) -> None:
    """Broken grammar and stray marks break nothing."""
    for memory in extracted(" ".join(pieces)):
        assert "⟦" not in memory.text
