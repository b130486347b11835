"""Check 14: a search for another's exact words finds nothing, in every mode and with every filter."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.faults.traffic import message
from tests.server_process import ServerProcess, wait_for_no_pending_work

SECRET = "The vault combination is fourteen twenty-two thirty"
NARROWING: dict[str, dict[str, Any]] = {
    "alone": {},
    "topics": {"topics": {"any": ["vault"]}},
    "entities": {"entities": {"all": ["Vault"]}},
    "created": {"created_at": {"gte": "2000-01-01T00:00:00Z"}},
    "accessed": {"last_accessed": {"lte": "2999-01-01T00:00:00Z"}},
    "event": {"event_date": {"between": ["2023-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]}},
    "type": {"memory_type": {"in_": ["semantic", "episodic", "message"]}},
    "session": {"session_id": {"startswith": "vault"}},
    "strategy": {"extraction_strategy": {"ne": "none"}},
    "superseded": {"include_superseded": True},
}
MODES = ("semantic", "keyword", "hybrid")


@pytest.mark.parametrize(("mode", "text"), [*itertools.product(MODES, (SECRET, "vault")), ("semantic", "")])
def test_check_14_anothers_exact_text_is_never_found(
    shared_server: ServerProcess, namespace: str, mode: str, text: str
) -> None:
    """Another user of the namespace, another namespace, an empty one and an empty user see no hit, no total, no hint."""
    owner = {"namespace": namespace, "user_id": "alice"}
    secret = {
        "id": f"{namespace}-secret",
        "text": SECRET,
        "topics": ["vault"],
        "entities": ["Vault"],
        "event_date": "2024-01-01T00:00:00Z",
        "session_id": "vault-1",
        **owner,
    }
    strangers: list[dict[str, Any]] = [
        {"namespace": {"eq": namespace}, "user_id": {"eq": "bob"}},
        {"namespace": {"eq": namespace}, "user_id": {"eq": "Alice"}},
        {"namespace": {"eq": f"{namespace}-empty"}},
        {"namespace": {"eq": f"{namespace}-empty"}, "user_id": {"eq": "alice"}},
        {"namespace": {"eq": namespace}, "user_id": {"ne": "alice"}},
        {"namespace": {"eq": namespace}, "user_id": {"none": ["alice"]}},
        {"namespace": {"eq": namespace}, "user_id": {"startswith": "b"}},
        {"namespace": {"eq": namespace.upper()}},
    ]
    with shared_server.client() as client:
        assert client.post("/v1/long-term-memory/", json={"memories": [secret]}).status_code == 200
        session = {"messages": [message(f"{namespace}-said", SECRET)], "context": SECRET, **owner}
        assert client.put("/v1/working-memory/vault-1", json=session).status_code == 200
        wait_for_no_pending_work(client)
        control = client.post(
            "/v1/long-term-memory/search",
            json={"text": text, "search_mode": mode, "namespace": {"eq": namespace}, "user_id": {"eq": "alice"}},
        ).json()
        assert secret["id"] in {hit["id"] for hit in control["memories"]}, "the owner does not find it either"
        for stranger, (name, narrowing) in itertools.product(strangers, NARROWING.items()):
            body = {"text": text, "search_mode": mode, **stranger, **narrowing}
            response = client.post("/v1/long-term-memory/search", json=body)
            assert response.status_code == 200, f"{stranger} {name}: {response.text}"
            answer = response.json()
            assert (answer["memories"], answer["total"], answer["next_offset"]) == ([], 0, None), f"{stranger} {name}"
            prompt = client.post("/v1/memory/prompt", json={"query": text or "what", "long_term_search": body})
            assert prompt.json()["long_term_memories"] is None
            assert SECRET not in prompt.text.replace(f'"{text}"', "")


def test_check_14_an_empty_namespace_lists_nothing(shared_server: ServerProcess, namespace: str) -> None:
    """A namespace that nobody used is empty in every listing, whatever else the store holds."""
    with shared_server.client() as client:
        query = {"namespace": namespace}
        assert client.get("/v1/long-term-memory", params=query).json()["total"] == 0
        assert client.get("/v1/working-memory/", params=query).json() == {"sessions": [], "total": 0}
        assert client.post("/v1/long-term-memory/search", json={"namespace": {"eq": namespace}}).json()["total"] == 0
        forget = client.post("/v1/long-term-memory/forget", params=query, json={"policy": {"max_age_days": 0.000001}})
        nothing: dict[str, Any] = {"scanned": 0, "deleted": 0, "deleted_ids": [], "dry_run": True}
        assert nothing.items() <= forget.json().items()


@pytest.mark.parametrize("mode", MODES)
def test_check_14_others_texts_do_not_move_a_score(shared_server: ServerProcess, namespace: str, mode: str) -> None:
    """Ranking statistics are scoped: however often others use a word, one's own scores and order stay to the last digit."""
    owner = {"namespace": namespace, "user_id": "alice"}
    own = [
        {"id": f"{namespace}-{number}", "text": text, "last_accessed": "2024-01-01T00:00:00Z", **owner}
        for number, text in enumerate(("A lighthouse by the sea", "The sea was calm that day", "A keeper lit the lamp"))
    ]
    query = {
        "text": "lighthouse keeper by the sea",
        "search_mode": mode,
        "recency_boost": False,
        "namespace": {"eq": namespace},
        "user_id": {"eq": "alice"},
    }

    def ranking() -> list[tuple[str, float, float]]:
        hits = client.post("/v1/long-term-memory/search", json=query).json()["memories"]
        return [(hit["id"], hit["score"], hit["dist"]) for hit in hits]

    with shared_server.client() as client:
        assert client.post("/v1/long-term-memory/", json={"memories": own}).status_code == 200
        before = ranking()
        assert before
        noise = [
            {"id": f"{namespace}-{user}-{number}", "text": "sea sea lighthouse keeper " * (number % 7 + 1), **scope}
            for user, scope in (
                ("bob", {"namespace": namespace, "user_id": "bob"}),
                ("other", {"namespace": f"{namespace}x", "user_id": "alice"}),
            )
            for number in range(200)
        ]
        body = {"memories": noise, "deduplicate": False}
        assert client.post("/v1/long-term-memory/", json=body).status_code == 200
        assert ranking() == before


def test_check_14_what_is_derived_stays_with_its_owner(shared_server: ServerProcess, namespace: str) -> None:
    """What the background makes of a conversation (message memories, extracted facts) is the owner's alone."""
    owner = {"namespace": namespace, "user_id": "alice"}
    said = ["I live in Zanzibar and I own a yellow submarine.", "My favourite dish is lentil soup."]
    messages = [message(f"{namespace}-{number}", text) for number, text in enumerate(said)]
    with shared_server.client() as client:
        assert client.put("/v1/working-memory/talk", json={"messages": messages, **owner}).status_code == 200
        wait_for_no_pending_work(client)
        made = client.get("/v1/long-term-memory", params={"namespace": namespace}).json()["memories"]
        assert {each["text"] for each in made} >= set(said)
        assert {(each["user_id"], each["session_id"]) for each in made} == {("alice", "talk")}
        for words in ("Zanzibar", "yellow submarine", "lentil soup"):
            everywhere = client.post("/v1/long-term-memory/search", json={"text": words, "search_mode": "keyword"})
            mine = [hit for hit in everywhere.json()["memories"] if hit["namespace"] == namespace]
            assert mine, "the control finds nothing"
            for other in ({"user_id": {"ne": "alice"}}, {"user_id": {"eq": "bob"}}, {"session_id": {"eq": "other"}}):
                body = {"text": words, "search_mode": "hybrid", "namespace": {"eq": namespace}, **other}
                assert client.post("/v1/long-term-memory/search", json=body).json()["total"] == 0
