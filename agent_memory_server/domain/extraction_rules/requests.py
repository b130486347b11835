"""Standing wishes to the assistant ("please always answer in bullet points", "call me Sam") and reminders to oneself.

A request without a word that makes it stand ("always", "from now on", "when you answer") is for this turn only: no memory.
"""

from __future__ import annotations

import re

from agent_memory_server.domain.extraction_rules.lexicon import words

_STANDING = re.compile(
    r"\b(?:always|never|from now on|in (?:the )?future|every time|whenever you|when you (?:answer|"
    r"reply|respond|write|talk|speak|explain)|"
    r"when (?:answering|replying|responding|talking|writing)|going forward|by default|all (?:of )?(?:my|"
    r"the|your) \w+|in your (?:answers|replies|responses))\b",
    re.IGNORECASE,
)
_WISH = re.compile(
    r"^(?:(?:please|from now on|in (?:the )?future|going forward|by default|also|and|but|so|ok|okay|,)\s*,?\s*)*"
    r"(?P<mode>(?:always|never|do not ever|do not|avoid)\s+)?(?:please\s+)?(?P<mode2>(?:always|never|do not)\s+)?"
    r"(?P<verb>answer|reply|respond|use|write|speak|keep|be|give|address|format|explain|talk|"
    r"include|add|show|send|put|skip|using|mention|recommend|suggest)\s+"
    r"(?P<rest>.+)$",
    re.IGNORECASE,
)
_CALL_ME = re.compile(
    r"^(?:(?:please|just|but|and|so|you can|everyone|people|my friends|hi|hey)\s+)*calls? me\s+"
    r"(?P<name>[A-Za-z][\w'-]{1,20}(?: [A-Z][\w'-]{1,20})?)$",
    re.IGNORECASE,
)
_NO_NAME = words(
    "back later when if crazy a an the at tomorrow today old now out asap names maybe please first up on and "
    "or sometime anytime by in so "
)
_ANSWERING = re.compile(r"\b(?:when|whenever) you (?:answer|reply|respond)(?: to)?(?: me)?\b", re.IGNORECASE)
_ADDRESSED = re.compile(
    r"\s*\b(?:(?:that )?you (?:write|make|give|send|create|produce)(?: for)?(?: me)?|for me)\b", re.IGNORECASE
)
_REMINDER = re.compile(
    r"^(?:(?:remember|remind me|reminder|note)\s*:?\s+)?(?:about (?:the|my)\s+)?(?P<what>(?:(?:my|"
    r"a|an|the)\s+)?(?:(?!i\b|we\b|had\b|have\b|is\b|was\b|the\b)[\w'-]+\s+){0,4}(?:appointment|meeting|"
    r"interview|exam|flight|party|wedding|surgery|concert|deadline|recital|checkup|viva|defense|"
    r"defence|due|conference))(?:\s+is)?\s+"
    r"(?P<when>⟦\d+⟧)$",
    re.IGNORECASE,
)


def standing_wish(clause: str, speaker: str) -> str | None:
    """ "please always answer in short bullet points" -> "User asks the assistant to always answer in short bullet points"."""
    if not _STANDING.search(clause):
        return None
    match = _WISH.match(clause)
    if match is None:
        return None
    mode = f"{match['mode'] or ''}{match['mode2'] or ''}".lower().split()
    verb, rest = match["verb"].lower(), match["rest"]
    if verb == "using":
        verb = "use"
    rest = re.sub(r"\s*\b(?:from now on|in the future|in future|going forward)\b", "", rest, flags=re.IGNORECASE)
    rest = _ADDRESSED.sub("", _ANSWERING.sub("when answering", rest))
    words = [
        {"me": speaker, "my": f"{speaker}'s", "your": "its", "i": speaker}.get(word.lower(), word)
        for word in rest.split()
    ]
    if any(word.lower() in ("you", "yourself") for word in words) or not words:
        return None
    manner = (
        "never to"
        if "never" in mode
        else "not to"
        if "not" in mode or "avoid" in mode
        else "to always"
        if "always" in mode
        else "to"
    )
    return f"{speaker} asks the assistant {manner} {verb} {' '.join(words)}"


def preferred_name(clause: str, speaker: str) -> str | None:
    """ "call me Sam" -> "User wants to be called Sam"."""
    match = _CALL_ME.match(clause.strip())
    if match is None or match["name"].split()[0].lower() in _NO_NAME:
        return None
    name = match["name"]
    return f"{speaker} wants to be called {name[0].upper()}{name[1:]}"


def reminder(clause: str, speaker: str) -> str | None:
    """ "dentist appointment ⟦0⟧" -> "User has a dentist appointment ⟦0⟧"."""
    match = _REMINDER.match(clause.strip())
    if match is None or re.search(r"\b(?:your|you|his|her|their)\b", match["what"], re.IGNORECASE):
        return None
    what = re.sub(r"^(?:my|a|an|the)\s+", "", match["what"], flags=re.IGNORECASE)
    article = "an" if what[0].lower() in "aeiou" else "a"
    return f"{speaker} has {article} {what} {match['when']}"
