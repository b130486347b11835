"""Topics and entities of a short sentence, by simple rules that say little rather than guess.

Entities: runs of capitalised words that are not merely the start of the sentence. Topics: categories of a small keyword
list, by stem, most hits first, at most three. Neither holds commas.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from agent_memory_server.domain.extraction_rules.lexicon import FUNCTION_WORDS, words

TOPICS_MAX = 3
ENTITIES_MAX = 8

_KEYWORDS = {
    "work": (
        "work works working job jobs career boss manager colleague coworker office company employer salary "
        "project team engineer developer nurse teacher designer startup promotion promoted hired fired "
        "resigned retired intern internship freelance client business shift meeting demo interview lawyer "
        "accountant scientist reports profession"
    ),
    "family": (
        "wife husband partner mother father mom mum dad parents brother sister son daughter kid kids child "
        "children baby grandmother grandfather grandma grandpa aunt uncle cousin niece nephew family twins "
        "pregnant stepson stepdaughter sibling siblings"
    ),
    "relationships": (
        "wife husband partner girlfriend boyfriend fiance fiancee married divorced engaged wedding "
        "anniversary dating friend friends roommate neighbor neighbour broke"
    ),
    "health": (
        "allergic allergy allergies diabetes diabetic doctor dentist surgery hospital medication medicine "
        "therapy therapist pain injured injury asthma blind deaf wheelchair pregnant sleep insulin arthritis "
        "migraine migraines disease diagnosed anxiety depression weight weighs autistic adhd lactose gluten "
        "health"
    ),
    "food": (
        "eat eats food cook cooks cooking bake bakes baking vegetarian vegan restaurant coffee tea wine beer "
        "meat fish pork dinner lunch breakfast recipe recipes cilantro pizza pasta sushi chocolate cheese "
        "cuisine spicy drink alcohol"
    ),
    "travel": (
        "travel travels trip flight flying flew vacation holiday visit visited visiting hotel camping airport "
        "abroad journey tour passport hiking road cruise"
    ),
    "pets": "dog dogs cat cats puppy kitten pet pets horse rabbit parrot hamster",
    "sports": (
        "run runs running ran marathon triathlon swim swims swimming football soccer basketball tennis "
        "cycling bike hike hiking climbing gym yoga surf surfing ski skiing race training workout chess "
        "martial karate baseball golf skateboarding"
    ),
    "music": (
        "music band guitar piano violin cello drums sing sings singing song songs concert album choir gig festival"
    ),
    "education": (
        "study studies studying studied school college university degree class course exam graduate graduated "
        "student learn learning phd thesis scholarship major teacher homework"
    ),
    "home": (
        "live lives living moved moving house apartment flat home neighborhood rent rents landlord mortgage "
        "garden renovating city town"
    ),
    "finance": "mortgage loan budget savings save saving invest investing bank debt tax taxes salary rent money",
    "technology": (
        "python rust javascript java code codes coding software laptop mac windows linux app database server "
        "computer phone programming postgres kubernetes docker api android iphone router"
    ),
    "arts": (
        "paint paints painting painted draw drawing pottery art museum gallery photography theater theatre "
        "dance dancing film movie movies poetry sculpture knitting sewing"
    ),
    "reading": "book books read reading novel author library",
    "games": "game games gaming chess playstation xbox nintendo dungeons puzzle",
    "language": (
        "speak speaks language english spanish french german portuguese italian japanese chinese mandarin korean arabic"
    ),
    "vehicles": "car bike motorcycle truck drive drives volvo tesla licence license",
    "birthday": "birthday",
    "shopping": "bought ordered purchased order subscription cancelled refund delivery",
}


def _index() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for topic, listed in _KEYWORDS.items():
        for word in listed.split():
            found.setdefault(word, []).append(topic)
    return {word: tuple(dict.fromkeys(topics)) for word, topics in found.items()}


_TOPICS_BY_WORD = MappingProxyType(_index())
_TOPIC_BY_RULE = MappingProxyType({"preference": "preferences", "wish": "preferences", "plan": "plans"})
_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
_ENTITY = re.compile(
    r"(?<![\w'.])[A-Z][\w&'-]*(?:\.(?=\s[A-Z]))?"
    r"(?:\s+(?:(?:of|de|la|van|von|der|di|the|and the|&)\s+)?[A-Z0-9][\w&'-]*(?:\.(?=\s[A-Z]))?)*"
)
_CALENDAR = words(
    "january february march april may june july august september october november december monday tuesday "
    "wednesday thursday friday saturday sunday i user "
)


def topics_of(text: str, rule: str) -> tuple[str, ...]:
    """At most three categories that the sentence's words belong to, the best supported first."""
    counts: dict[str, int] = {}
    for word in _WORD.findall(text.lower()):
        for topic in _TOPICS_BY_WORD.get(word, ()) or _TOPICS_BY_WORD.get(word.removesuffix("'s"), ()):
            counts[topic] = counts.get(topic, 0) + 1
    ranked = sorted(counts, key=lambda topic: -counts[topic])[:TOPICS_MAX]
    if len(ranked) < TOPICS_MAX and rule in _TOPIC_BY_RULE:
        ranked.append(_TOPIC_BY_RULE[rule])
    return tuple(ranked)


def entities_of(text: str, speaker: str) -> tuple[str, ...]:
    """Names in the sentence: the speaker by name, and each run of capitalised words after the first word."""
    found: dict[str, None] = {}
    if speaker != "User":
        found[speaker.replace(",", " ").strip()] = None
    start = len(speaker) if text.startswith(speaker) else 0
    if text.startswith("'s", start):
        start += 2
    for match in _ENTITY.finditer(text, start):
        name = match.group().rstrip(".").removesuffix("'s").removesuffix("'").strip()
        low = name.lower()
        if match.start() == 0 or low in _CALENDAR or low in FUNCTION_WORDS or len(name) == 1:
            continue
        if any(part in _CALENDAR for part in low.split()) and any(part.isdigit() for part in low.split()):
            continue  # "9 July 2023"
        found[name] = None
    return tuple(found)[:ENTITIES_MAX]
