"""The four extraction strategies side by side, with a language model that answers from a script: no key, no network.

    make demo-strategies

The same three messages go into four sessions, each with its own strategy. What a real model would be asked is what the
scripted one is asked; what it answers here was written by hand.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from agent_memory_server.domain.identity import ANONYMOUS
from agent_memory_server.domain.strategies import StrategyName
from agent_memory_server.logs import configure_logging
from agent_memory_server.ports.language_model import ModelCall, Purpose
from agent_memory_server.testing.language_model import ScriptedLanguageModel
from agent_memory_server.testing.running import running_app

SAID = (
    "Hi! I moved to Lisbon on 2 March and my cat Pixel came along.",
    "Please always answer in short bullet points, I read on my phone.",
    "We decided to ship version 2 of Harbour on 1 June; Ana owns the release notes.",
)
STRATEGIES: Mapping[StrategyName, Mapping[str, Any]] = {
    StrategyName.DISCRETE: {},
    StrategyName.PREFERENCES: {},
    StrategyName.SUMMARY: {"max_summary_length": 60},
    StrategyName.CUSTOM: {"custom_prompt": 'Extract decisions only, as {"memories": [...]}, each with who owns it.'},
}
_ANSWERS: Mapping[str, tuple[tuple[str, str, tuple[int, ...]], ...]] = {
    "facts (semantic) and events": (
        ("episodic", "User moved to Lisbon on 2 March 2026.", (1,)),
        ("semantic", "User has a cat named Pixel.", (1,)),
        ("semantic", "Ana owns the release notes of Harbour version 2.", (3,)),
    ),
    "lasting preferences": (("semantic", "User prefers answers in short bullet points.", (2,)),),
    "a summary of the whole conversation": (
        (
            "semantic",
            "User moved to Lisbon with the cat Pixel, wants short bullet points, and ships Harbour 2 on 1 June 2026.",
            (1, 2, 3),
        ),
    ),
    "decisions only": (("semantic", "Harbour version 2 ships on 1 June 2026; Ana owns the release notes.", (3,)),),
}


def scripted_answer(call: ModelCall) -> Mapping[str, Any] | None:
    """What the model of this example says: by the task that it finds in its instructions."""
    if call.purpose is not Purpose.EXTRACTION:
        return None
    for task, memories in _ANSWERS.items():
        if task in call.instructions:
            return {"memories": [_memory(*memory) for memory in memories]}
    return None


def _memory(kind: str, text: str, sources: tuple[int, ...]) -> Mapping[str, Any]:
    event = "2026-03-02T00:00:00Z" if kind == "episodic" else None
    return {
        "type": kind,
        "text": text,
        "topics": [],
        "entities": [],
        "event_date": event,
        "sources": list(sources),
    }


async def run(folder: Path) -> dict[StrategyName, list[dict[str, Any]]]:
    """Memories by strategy, as the REST API shows them."""
    model = ScriptedLanguageModel()
    model.answer_with(scripted_answer)
    formed: dict[StrategyName, list[dict[str, Any]]] = {}
    async with running_app(data_dir=folder, language_model=model, extraction_debounce_seconds=0.0) as running:
        for strategy, config in STRATEGIES.items():
            messages = [{"role": "user", "content": text, "created_at": "2026-03-20T10:00:00Z"} for text in SAID]
            body = {
                "messages": messages,
                "user_id": strategy.value,
                "long_term_memory_strategy": {"strategy": strategy.value, "config": dict(config)},
            }
            answer = await running.client.put(f"/v1/working-memory/{strategy.value}", json=body)
            answer.raise_for_status()
            while (await running.app.pending_work.pending(ANONYMOUS)).pending:  # noqa: ASYNC110 - work of the background has no event
                await asyncio.sleep(0.02)
            listing = await running.client.get("/v1/long-term-memory", params={"user_id": strategy.value})
            formed[strategy] = listing.json()["memories"]
    return formed


def main() -> None:
    configure_logging("WARNING")
    console = Console(highlight=False)
    console.print("Said:", *(f"  - {text}" for text in SAID), sep="\n")
    with tempfile.TemporaryDirectory(prefix="agent-memory-strategies-") as folder:
        for strategy, memories in asyncio.run(run(Path(folder))).items():
            console.print(f"\n[bold]{strategy.value}[/bold]")
            for memory in memories:
                when = f" [dim]({memory['event_date'][:10]})[/dim]" if memory["event_date"] else ""
                console.print(f"  {escape(memory['text'])}{when}")


if __name__ == "__main__":
    main()
