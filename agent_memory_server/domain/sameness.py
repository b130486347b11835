"""What tells two memories that lie near each other apart, by rules. Pure.

A distance cannot see a "no", a number or a name. So memories that these rules tell apart are never merged, whatever a model
would say, and never even shown to one as the same. The rules err on the side of keeping both: a merge that does not happen
costs a little room, a wrong one costs a fact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent_memory_server.domain.extraction_rules import lexicon
from agent_memory_server.domain.extraction_rules.inflection import readings
from agent_memory_server.domain.records import Memory

_words = lexicon.words
_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?:;\n][\s\"'“”(]*$")

_NEGATIONS = _words(
    "not no never none nobody nothing nowhere neither nor without hardly barely cannot unable lack lacks lacking "
    "dislike dislikes disliked hate hates hated loathe loathes detest detests refuse refuses refused deny denies denied "
    "avoid avoids avoided fail fails failed except rejected rejects declined declines "
    "nicht kein keine keinen keinem keiner keines nie niemals nichts niemand ohne ne pas jamais aucun aucune sans rien "
    "nunca nadie nada ninguno ninguna ningún tampoco sin non mai nessun nessuno nessuna senza niente não nem sem nenhum "
    "nenhuma niet geen nooit zonder niets не нет никогда без"
)
_NEGATING_CHARACTERS = "不没沒無无未别別非"
_CHANGES = _words(
    "longer anymore stopped stops stop quit quits ceased former formerly previously ex ended ends instead switched "
    "switches replaced replaces until till changed changes cancelled canceled cancels resumed abandoned dropped "
    "sold lost retired divorced separated recovered mehr früher ehemals plus ancien ya antes più"
)
_CHANGING = re.compile(r"\b(?:used to|gave up|moved out|broke up)\b", re.IGNORECASE)
_REPORTS = _words(
    "says said say claims claimed claim according told tells reports reported believes believed thinks thought "
    "assumes assumed suspects guesses heard rumour rumor allegedly apparently supposedly reportedly insists insisted "
    "mentioned suggests suggested laut sagt sagte selon dit según dice dijo secondo"
)
_UNCERTAIN = _words(
    "may might maybe perhaps possibly probably likely could would should considering wants wanted want hopes hoped hope "
    "plans planned plan intends wishes wish tries trying tried if unless vielleicht peut-être quizás forse talvez"
)
_FREQUENCIES = _words(
    "always usually often sometimes occasionally rarely seldom once twice daily weekly monthly yearly every all most some "
    "few many both half only first second third last next former latter before after"
)
_NUMBER_WORDS = (
    "zero _ two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
)
"""By their place. "One" is left out: it mostly counts nothing."""
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split()) if word != "_"} | {
    "dozen": "12",
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
}
_CALENDAR = _words(
    "monday tuesday wednesday thursday friday saturday sunday january february april june july august september october "
    "november december spring summer autumn winter today yesterday tomorrow tonight morning afternoon evening night noon "
    "weekend week month year easter christmas"
)
_MONTHS_WHEN_CAPITALISED = frozenset({"march", "may", "fall", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep"})
_OPPOSITES = tuple(
    tuple(_words(side) for side in pair.split("|"))
    for pair in (
        "buy buys bought|sell sells sold", "arrive arrives arrived|leave leaves left depart departs", "start starts started "
        "begin begins began|stop stops stopped end ends ended finish finishes finished", "mother mom mum|father dad",
        "brother|sister", "son|daughter", "husband|wife", "boyfriend|girlfriend", "uncle|aunt", "nephew|niece", "boy|girl",
        "he him his|she her hers", "cat cats kitten|dog dogs puppy", "hot warm|cold cool", "big large|small little",
        "more|less fewer", "increase increased raised|decrease decreased reduced lowered", "left|right", "early|late",
        "open opens opened|close closes closed", "win wins won|lose loses lost", "borrow borrowed|lend lent|give gave",
        "single|married", "engaged|divorced", "vegan|vegetarian", "tea|coffee", "black|white|green|red|blue|yellow|brown",
        "long|short brief", "afraid scared|fond", "piano|violin|guitar", "north|south|east|west", "morning|evening|night",
        "young younger|old older", "learn learns learning|teach teaches "
        "teaching", "import imports|export exports", "accept accepted|reject rejected declined", "up|down", "in|out",
        "to|from", "before|after", "best|worst", "good|bad", "high|low", "dark|light", "aunt|cousin",
        "husband|brother", "wife|sister", "mother|sister", "father|brother", "son|nephew", "allergic|intolerant",
    )
)  # fmt: skip
_RELATIVES = _words(
    "wife husband girlfriend boyfriend partner spouse mother mom mum mama father dad papa parents brother brothers sister "
    "sisters sibling siblings son sons daughter daughters kid kids child children grandmother grandma grandfather grandpa aunt "
    "uncle cousin niece nephew boss manager supervisor colleague coworker friend friends neighbor neighbour roommate flatmate "
    "doctor teacher landlord"
)
_ONE_WORD = {
    "mom": "mother", "mum": "mother", "mama": "mother", "dad": "father", "papa": "father", "kid": "child", "kids": "children",
    "grandma": "grandmother", "grandpa": "grandfather", "boss": "manager", "supervisor": "manager", "coworker": "colleague",
    "neighbour": "neighbor", "flatmate": "roommate", "spouse": "partner",
}  # fmt: skip
_SIDES_BY_WORD = {
    word: tuple(
        (pair, side) for pair, sides in enumerate(_OPPOSITES) for side, said in enumerate(sides) if word in said
    )
    for word in {word for sides in _OPPOSITES for said in sides for word in said}
}
_NO_NAMES = lexicon.FUNCTION_WORDS | lexicon.FILLER_ADVERBS | lexicon.RELATIONS | lexicon.ATTRIBUTES | _words(
    "user users assistant mr mrs ms dr currently user's there according yes no their every since despite although"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What must be equal in two texts that say the same. Read once a text; compared many times."""

    negations: int
    changes: bool
    reports: bool
    uncertain: bool
    frequencies: frozenset[str]
    numbers: frozenset[str]
    dates: frozenset[str]
    relatives: frozenset[str]
    """Whose: a fact about somebody's sister is none about them."""
    names: frozenset[str]
    maybe_names: frozenset[str]
    """Capitalised words at the start of a sentence that are no known words: names, unless another text has them small."""
    words: frozenset[str]
    small_words: frozenset[str]
    """Words that stand in lower case."""
    sides: frozenset[tuple[int, int]]
    """(pair, side) of the opposites that it holds."""

    def names_beside(self, other: Marks) -> frozenset[str]:
        return self.names | (self.maybe_names - other.small_words)


def marks_of(text: str) -> Marks:
    """The marks of one text, in time linear in its length."""
    tokens = [(match.group(), _starts_sentence(text, match.start())) for match in _TOKEN.finditer(text)]
    lowered = [token.lower().replace("’", "'") for token, _ in tokens]
    plain = frozenset(lowered)
    small = frozenset(token for token, _ in tokens if token[0].islower())
    negated = sum(word in _NEGATIONS or word.endswith("n't") for word in lowered)
    named = dict(_names(tokens))
    dates = frozenset(_dates(tokens))
    return Marks(
        negations=negated + sum(text.count(character) for character in _NEGATING_CHARACTERS),
        changes=not _CHANGES.isdisjoint(plain) or _CHANGING.search(text) is not None,
        reports=not _REPORTS.isdisjoint(plain),
        uncertain=not _UNCERTAIN.isdisjoint(plain - dates),
        frequencies=_FREQUENCIES & plain,
        numbers=frozenset(_numbers(lowered)),
        dates=dates,
        relatives=frozenset(_ONE_WORD.get(word, word) for word in plain & _RELATIVES),
        names=frozenset(word for word, is_sure in named.items() if is_sure),
        maybe_names=frozenset(word for word, is_sure in named.items() if not is_sure) - small,
        words=plain,
        small_words=small,
        sides=frozenset(side for word in plain for side in _SIDES_BY_WORD.get(word, ())),
    )


def difference(one: Memory, other: Memory, read: Callable[[str], Marks] = marks_of) -> str | None:
    """Why these two are not the same by rule, in words for a report; None: the rules see nothing that parts them.

    ``read`` is ``marks_of``, or what remembers its answers.
    """
    if one.scope.owner != other.scope.owner:
        return "they have different owners"
    if one.memory_type is not other.memory_type:
        return "one tells an event, the other a fact"
    if one.name != other.name:
        return "they are about different people"
    times = ((one.event_date, other.event_date), (one.valid_from, other.valid_from), (one.valid_to, other.valid_to))
    if any(mine is not None and theirs is not None and mine != theirs for mine, theirs in times):
        return "they happened at different times"
    if _ended_before(one, other) or _ended_before(other, one):
        return "one ended before the other began"
    return difference_of_marks(read(one.text), read(other.text))


def _ended_before(one: Memory, other: Memory) -> bool:
    return one.valid_to is not None and other.valid_from is not None and one.valid_to <= other.valid_from


def difference_of_texts(one: str, other: str) -> str | None:
    """As ``difference``, by the texts alone."""
    return difference_of_marks(marks_of(one), marks_of(other))


def difference_of_marks(mine: Marks, theirs: Marks) -> str | None:
    """As ``difference``, by what was read of the texts."""
    if mine.numbers != theirs.numbers:
        return "their numbers differ"
    if mine.negations != theirs.negations:
        return "one negates what the other says"
    if mine.changes != theirs.changes:
        return "one tells of a change or an end"
    if mine.reports != theirs.reports:
        return "one tells who says so"
    if mine.uncertain != theirs.uncertain:
        return "one is a wish or a guess"
    if mine.dates != theirs.dates:
        return "their dates differ"
    if mine.frequencies != theirs.frequencies:
        return "they differ in how often or how many"
    if mine.relatives != theirs.relatives:
        return "they are about different people"
    if mine.names_beside(theirs) != theirs.names_beside(mine):
        return "their names differ"
    if _opposed(mine, theirs):
        return "they say opposite things"
    return None


def loses(sources: Iterable[str], merged: str) -> str | None:
    """What a merged text would lose or invent of its sources, by rule; None: nothing that the rules can see."""
    after = marks_of(merged)
    heard = {word.removesuffix("'s") for word in after.words}
    for text in sources:
        before = marks_of(text)
        if bool(before.negations) != bool(after.negations) or before.changes != after.changes:
            return "it turns what a memory says into its opposite"
        if before.reports != after.reports or before.uncertain != after.uncertain:
            return "it makes a report or a guess of a fact, or the reverse"
        if before.numbers != after.numbers or before.dates != after.dates:
            return "its numbers or dates are not those of the memories"
        if before.relatives != after.relatives:
            return "it is about somebody else"
        if not heard.issuperset(before.names_beside(after)):
            return "it leaves out a name"
        if _opposed(before, after):
            return "it says the opposite of a memory"
    return None


def _starts_sentence(text: str, position: int) -> bool:
    before = text[:position]
    return not before.strip(" \t\n\"'“”(") or _SENTENCE_END.search(before) is not None


def _numbers(lowered: Iterable[str]) -> Iterable[str]:
    for word in lowered:
        if word[0].isdigit():
            yield word.rstrip(".,:/-")
        elif word in _NUMBERS:
            yield _NUMBERS[word]


def _dates(tokens: Iterable[tuple[str, bool]]) -> Iterable[str]:
    for token, starts in tokens:
        word = token.lower().removesuffix("'s")
        if word in _CALENDAR or (word in _MONTHS_WHEN_CAPITALISED and token[0].isupper() and not starts):
            yield word


def _names(tokens: Iterable[tuple[str, bool]]) -> Iterable[tuple[str, bool]]:
    """Capitalised words that are no ordinary words, and whether they are names for sure: at the start of a sentence any
    unknown word may be one."""
    for token, starts in tokens:
        if not token[0].isupper():
            continue
        word = token.lower().replace("’", "'").removesuffix("'s")
        if word in _NO_NAMES or word in _CALENDAR or word in _MONTHS_WHEN_CAPITALISED or len(word) == 1:
            continue
        if starts and (readings(word) or word in _NEGATIONS or word in _NUMBERS):
            continue
        yield word, not starts


def _opposed(mine: Marks, theirs: Marks) -> bool:
    """One says one side of a pair and not the other, where the other text says the other side alone."""
    for pair in {pair for pair, _ in mine.sides} & {pair for pair, _ in theirs.sides}:
        here = {side for each, side in mine.sides if each == pair}
        there = {side for each, side in theirs.sides if each == pair}
        if here.isdisjoint(there):
            return True
    return False
