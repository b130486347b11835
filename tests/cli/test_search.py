"""``agent-memory search``: what it prints, what it finds, and what it refuses."""

from __future__ import annotations

import json

from tests.cli.commands import CommandLine


def test_what_is_found_is_printed_in_the_known_form(loaded: CommandLine) -> None:
    """Header, rule of 60, and an entry with the fields that are there."""
    lines = loaded.done("search", "what is she allergic to?", "-l", "3", "-n", "home", "-u", "mara").splitlines()
    assert lines[0].startswith("Found ")
    assert lines[0].endswith(" memories (showing 3):")
    assert lines[1] == "=" * 60
    assert lines[3] == "[1] ID: lisbon-D1:9"
    assert lines[4].startswith("    Score: 0.")
    assert lines[4].endswith(" (hybrid)")
    assert lines[5].startswith("    Distance: ")
    assert lines[6:10] == ["    Namespace: home", "    Session: lisbon-session_1", "    User: mara", "    Name: Mara"]
    assert "penicillin" in lines[10]


def test_json_is_what_the_api_answers(loaded: CommandLine) -> None:
    """``--json`` and ``--format json`` print the search's results with the wire's field names."""
    answer = json.loads(loaded.done("search", "sourdough", "--search-mode", "keyword", "--json", "-l", "1"))
    assert answer["memories"][0]["id"] == "lisbon-D2:7"
    assert answer["memories"][0]["score_type"] == "keyword"
    assert answer["memories"][0]["created_at"].endswith("Z")
    assert {"total", "next_offset"} < answer.keys()
    assert json.loads(loaded.done("search", "sourdough", "--format", "json"))["memories"]


def test_without_a_query_memories_are_listed_newest_first(loaded: CommandLine) -> None:
    """Pages join without overlap, and the total counts everything."""
    first = json.loads(loaded.done("search", "--json", "-l", "2"))
    second = json.loads(loaded.done("search", "--json", "-l", "2", "-o", "2"))
    assert first["total"] >= 45
    times = [each["created_at"] for each in first["memories"] + second["memories"]]
    assert times == sorted(times, reverse=True)
    assert len({each["id"] for each in first["memories"] + second["memories"]}) == 4


def test_filters_narrow(loaded: CommandLine) -> None:
    """By session, by user, and by tags that nothing has."""
    in_session = json.loads(loaded.done("search", "Pixel", "-s", "lisbon-session_2", "--json"))
    assert {each["session_id"] for each in in_session["memories"]} == {"lisbon-session_2"}
    assert "Found 0 memories" in loaded.done("search", "Pixel", "-u", "somebody-else")
    assert "Found 0 memories" in loaded.done("search", "Pixel", "-t", "no such topic, nor this")
    assert "Found 0 memories" in loaded.done("search", "Pixel", "-e", "nobody")


def test_a_distance_threshold_means_semantic_and_is_refused_with_another_mode(loaded: CommandLine) -> None:
    """Scripts that name only the threshold were written for the semantic mode."""
    found = json.loads(loaded.done("search", "penicillin allergy", "-d", "0.9", "--json"))
    assert {each["score_type"] for each in found["memories"]} == {"semantic"}
    outcome = loaded.run("search", "x", "-d", "0.5", "--search-mode", "hybrid")
    assert outcome.code == 2
    assert "only supported" in outcome.err


def test_wrong_use_is_a_sentence_and_no_traceback(loaded: CommandLine) -> None:
    """Exit code 2 for options that cannot be, 1 for values that are refused."""
    assert loaded.run("search", "x", "-l", "0").code == 2
    assert loaded.run("search", "x", "--search-mode", "psychic").code == 2
    blank = loaded.run("search", "x", "-u", " ")
    assert blank.code == 1
    assert "user_id" in blank.err
    assert "must not be blank" in blank.err
    for outcome in (blank, loaded.run("search", "x" * 100_001)):
        assert outcome.code == 1
        assert "Traceback" not in outcome.err
        assert "input_value" not in outcome.err
    listing = loaded.run("search", "--expect", "x")
    assert listing.code == 2
    assert "--expect needs a QUERY" in listing.err


def test_a_hit_is_explained_and_an_expected_memory_accounted_for(loaded: CommandLine) -> None:
    """``--explain`` prints each score's sum; ``--expect`` the stage at which a memory was lost, also as JSON."""
    asked = ("search", "what is she allergic to?", "-l", "2", "--expect", "lisbon-D2:7", "--expect", "nowhere")
    text = loaded.done(*asked, "--explain")
    assert "    Why: -9.00 base, words +" in text
    assert "    Found by words number 1 (" in text
    assert "    nowhere: not_found: " in text
    answer = json.loads(loaded.done(*asked, "--json"))
    assert [each["stage"] for each in answer["expected"]][1:] == ["not_found"]
    assert answer["expected"][0]["id"] == "lisbon-D2:7"
    assert answer["expected"][0]["missing_by"] > 0


def test_a_budget_is_filled_with_lines_in_the_order_of_talk(loaded: CommandLine) -> None:
    """``--max-tokens`` prints the hits that fit and what was said around them; ``--min-score`` may leave nothing."""
    answer = json.loads(loaded.done("search", "sourdough", "--max-tokens", "200", "--json"))
    lines = answer["context"]["text"].splitlines()
    assert lines == sorted(lines, key=lambda line: line[:18])
    assert len(lines) == len(answer["context"]["memory_ids"]) >= len(answer["memories"]) > 0
    assert answer["context"]["tokens"] <= 200
    assert loaded.done("search", "zebra crossing", "--min-score", "0.9").startswith("Found 0 memories")
