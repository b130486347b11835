"""From a message's raw text to clauses that may state something: markup and quotations out, spelling evened, questions,
requests and suppositions marked as such.

Nothing here knows what a memory is; it only decides which stretches of text their writer asserts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent_memory_server.domain.extraction_rules.dates import find_dates
from agent_memory_server.domain.extraction_rules.inflection import Form, readings
from agent_memory_server.domain.extraction_rules.lexicon import FUNCTION_WORDS, words

SENTENCE_CHARS_MAX = 2_000
"""Longer stretches without a full stop are no sentence that the rules understand; it also bounds the patterns' time."""
_FENCED = re.compile(r"```.*?(?:```|$)|~~~.*?(?:~~~|$)", re.DOTALL)
_ASIDE = re.compile(r" ?\([^()\n]{1,12}\)")
_INLINE_CODE = re.compile(r"`[^`\n]*`")
_URL = re.compile(r"https?://\S+|www\.\S+")
_EMOJI = re.compile("[\U0001f000-\U0001faff☀-➿⬀-⯿️‍]+")
_SARCASM = re.compile(
    r"🙄|🤡|(?:^|\s)/s\s*$|\b(?:oh great|oh joy|yeah right|as if)\b|\bjust love (?:it when|being|how|when)\b",
    re.IGNORECASE,
)
_CODE_LINE = re.compile(
    r"^\s{4,}\S|[;{}]\s*$|^\s*(?:def|class|import|from \w+ import|return|SELECT|INSERT|UPDATE|"
    r"DELETE FROM|CREATE|const|let|var|function"
    r"|public|private|#include|//|--|\$|>|<\w+|[/!]\w)|\w\s*(?:[!=]=|:=|=>|->|\+=)\s*\w|^\s*\w+\s*=\s*\S|"
    r"\w\(\w*\)|Traceback|Error:|Exception:"
)
_QUOTE = re.compile(r"\"[^\"\n]{1,600}\"|“[^”\n]{1,600}”|(?<!\w)'[^'\n]{3,300}'(?!\w)|«[^»\n]{1,600}»")
_QUOTE_IS_SPEECH = re.compile(r"\b(?:i|i'm|i've|my|we|you|your|me|he|she)\b", re.IGNORECASE)
_REPORTED = re.compile(
    r"^(?:\W*[\w'’]+\s+){0,5}(?:wrote|writes|said|says|asked|asks|replied|texted|answered|goes|"
    r"told (?:me|us|him|her|them))\s*(?::|,|$)",
    re.IGNORECASE,
)
_TASK_ON_TEXT = re.compile(
    r"\b(?:translate|rewrite|rephrase|proofread|correct|fix|improve|edit|polish|summari[sz]e|"
    r"paraphrase|shorten|grammar|"
    r"continue|complete|analy[sz]e|classify|format|convert|reply to|respond to|answer to)\b.*"
    r"(?:\b(?:this|following|below|my|the|these|in|to|into)\b|:)",
    re.IGNORECASE,
)
_HANDED = re.compile(
    r"^\W*(?:(?:here is|here's|here are|this is|below is|see)\s+)?(?:my|the|a|an|our)\s+(?:\w+\s+){0,2}(?:essay|"
    r"text|e-?mail|letter|message|paragraph|draft|"
    r"story|poem|sentence|bio|resume|cv|transcript|prompt|review|passage|dialogue|script)\s*$",
    re.IGNORECASE,
)
"""Announces a text ("Here is my essay:"): what follows is that text."""
_SPEAKER = re.compile(r"^\s*\**\[?[A-Z][\w .]{0,24}\]?\**:\s", re.MULTILINE)
"""A line's speaker: a message with several is a pasted conversation, and "I" is anyone in it."""
_ONE_SPEAKER = re.compile(r"\s*([A-Z][a-z]+):\s+(?:I|My|We)\b")
_HEADINGS = words("Me Note Notes Goal Update Reminder Context Background Info Edit Also Fact Today Diary User")
_CREATIVE = re.compile(
    r"\b(?:act as|pretend|role-?play|you are (?:a|an|my|the) |you're (?:a|an|my) |imagine|in the voice of|"
    r"in the style of|"
    r"write (?:me )?(?:a|an|the) (?:short )?(?:story|poem|song|scene|script|monologue|dialogue|"
    r"letter|email|essay|speech|bio|tweet|cover letter))",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"^\W*(?:(?:and|but|so|well|ok|okay|now|hey)\W+)*(?:if|suppose|supposing|imagine|assume|"
    r"assuming|pretend|what if|let'?s (?:say|assume|"
    r"pretend|imagine)|let us say|say i|unless|hypothetically|as if|even if|i wish|wish|maybe|"
    r"perhaps|in case|consider|given that|"
    r"for example|e\.g|whether|in (?:the|this|a|an|my|that) (?:story|game|dream|book|film|movie|"
    r"play|scenario|novel|song))\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"^\W*(?:(?:and|but|so|or|well|ok|okay|then|also|now|hey|please|pls)\W+)*(?:what|how|why|"
    r"where|when|who|whom|whose|which|can|could|do|"
    r"does|did|is|are|was|were|should|would|will|shall|may|might|am i|have you|has|any|anyone|"
    r"anything|right|correct|ok|okay)\b",
    re.IGNORECASE,
)
_ASKS_UNMARKED = re.compile(
    r"^\W*(?:(?:and|but|so|or|well|ok|okay|then|also|now|hey)\W+)*(?:(?:what|how|why|where|who|whom|whose|which)\b"
    r"|(?:can|could|do|does|did|is|are|was|were|should|would|will|shall|am|have|has)\s+(?:i|"
    r"you|we|he|she|it|they|there|my|the|this|that|your|our|any)\b)",
    re.IGNORECASE,
)
_TAG_QUESTION = re.compile(r"\b(?:right|correct|no|yeah|ok|okay|huh|you know|isn't it)\s*\?+\s*$", re.IGNORECASE)

_TOGETHER = re.compile(
    r"((?:^|[,.!?]\s*|\b(?i:and|but|so|when|because|that|hey|hi|last \w+|yesterday|today|tomorrow)\s+)(?:(?i:my|"
    r"our)(?:\s+[\w'-]+){1,4}|[A-Z][\w'-]+))"
    r"\s+and\s+I\b"
)
"""A company of two or more, "my wife and I", whose "and" must not end a clause; it is tied to what follows."""
_OF_ONESELF = re.compile(
    r"\b(?:i|i'?m|i'?ve|i'?ll|i'?d|we|we'?(?:re|ve)|my|our|me|gonna|going to|always|never|from now on|"
    r"(?:in the )?future|by default|every time|"
    r"when(?:ever)? (?:you|answering|replying)|all the|appointment|meeting|interview|exam|flight|"
    r"party|wedding|surgery|concert|deadline)\b",
    re.IGNORECASE,
)
_ONLY_A_DATE_CHARS = 40
_SHOUTED_CHARS_MIN = 12
_SPELLINGS = {
    "im": "I am",
    "ive": "I have",
    "i": "I",
    "dont": "do not",
    "doesnt": "does not",
    "didnt": "did not",
    "cant": "cannot",
    "wont": "will not",
    "isnt": "is not",
    "wasnt": "was not",
    "arent": "are not",
    "havent": "have not",
    "hasnt": "has not",
    "couldnt": "could not",
    "wouldnt": "would not",
    "shouldnt": "should not",
    "gonna": "going to",
    "wanna": "want to",
    "gotta": "have to",
    "kinda": "kind-of",
    "pls": "please",
    "plz": "please",
    "i'm": "I am",
    "i've": "I have",
    "i'll": "I will",
    "i'd": "I would",
    "we're": "we are",
    "we've": "we have",
    "we'll": "we will",
    "we'd": "we would",
    "can't": "cannot",
    "won't": "will not",
    "ain't": "am not",
    "shan't": "will not",
    "u": "you",
    "ur": "your",
    "bday": "birthday",
    "fave": "favourite",
    "fav": "favourite",
    "mins": "minutes",
    "tmrw": "tomorrow",
    "tmr": "tomorrow",
    "hubby": "husband",
    "name's": "name is",
    "birthday's": "birthday is",
}
_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)?")
_NOT = re.compile(r"\b(do|does|did|is|was|are|were|have|has|had|could|would|should|must|need)n't\b", re.IGNORECASE)

_SENTENCE_END = re.compile(
    r"(?<=[.!?…])[\"')\]]*\s+(?=\S)|\n+|(?<=[!?…])(?=[A-Z])|\s*[-–—]+\s+|;\s+|\.{2,}\s*|\s*[()\[\]]\s*|:\s+"
)
_ABBREVIATION = re.compile(r"\b(?:St|Dr|Mr|Mrs|Ms|Prof|vs|etc|e\.g|i\.e|No|Jr|Sr|approx|[A-Z])\.$")
_SUBJECT = (
    r"(?:i|we|my|our|you|your|he|she|it|it's|its|they|they're|he's|she's|you're|that's|that|"
    r"this|there|there's|let's|let|please|"
    r"thanks|thank|can|could|would|should|what|how|where|why|do|don't|does|is|are|hope|any|me|"
    r"nobody|no one|everyone|everybody|not sure)"
)
_CLAUSE_END = re.compile(
    rf",?\s+(?:and|but|so|yet|though|although|cause|cuz|plus|or|then|also|because|while|whereas|"
    rf"btw|anyway)\s+(?=(?:I|we|you|he|she|it|it's|they|they're|he's|she's|"
    r"you're|that's|there|there's|please|let's|let)\b)"
    r"|,?\s+(?:and|but|so|though|plus|while)\s+(?=(?:my|our|the|his|her|their)\s+(?:[\w'-]+\s+){1,3}?(?:is|"
    r"are|was|were|has|have|had|does|do|did|will|works?|lives?|loves?|"
    r"likes?|hates?|goes|plays?|studies|turns|wants?|needs?|speaks?|eats?|drinks?|sits?|still|"
    r"just|should|would|can|got|went|said|broke|died|left|\w{3,}ed)\b)"
    rf"|,\s*(?=(?:{_SUBJECT}|tho|though|haha|lol|right|back|which|before that|after that|so|but|nobody|no one|none)\b)"
    r"|,\s*(?=the\s+(?:[\w'-]+\s+){1,3}(?:is|are|was|were)\b)|\s+but\s+(?=(?:this|that|the|these|those|now|nobody)\b)"
    r"|,\s+(?=(?:had|has|feels?|felt|tastes?|looks?|sounds?|was|is|are|were|been|turns out|works?|hurts?)\b)"
    r"|,\s+(?:so|but|yet|then)\s+|,\s+(?=such\s+an?\b)"
    r"|,\s+and\s+(?=(?:the|this|that|there|then|now|what|how|it|his|her|their|everyone|someone|still)\b)"
    r"|\s+so\s+(?=(?:can|could|what|how|no|don't|do|let|please|bear|maybe|shipping|feel|make sure|"
    r"any|\w+ (?:should|would|could|can|will|must))\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Clause:
    """A stretch of text with one statement at most.

    ``first``: it opens its sentence; ``asserted``: it is neither asked, supposed nor quoted.
    """

    text: str
    first: bool
    asserted: bool


def clauses_of(content: str) -> list[Clause]:
    """The clauses of a message in order; none for code, commands, text in other languages or text handed over to work on."""
    text = _without_markup(content)
    if not text or _is_conversation(text) or not is_english(text) or (_CREATIVE.search(text) and _is_creative(text)):
        return []
    found: list[Clause] = []
    for sentence, end in _sentences(text):
        if len(sentence) > SENTENCE_CHARS_MAX:
            continue
        if end.lstrip().startswith(":") and _HANDED.match(sentence):
            break
        task = _TASK_ON_TEXT.search(sentence)
        if _REPORTED.match(sentence + end.strip()) and end.lstrip().startswith(":"):
            break  # what follows are someone else's words
        if (
            task
            and _starts_request(sentence)
            and (end.lstrip().startswith(":") or "\n" in end or _hands_over(sentence))
        ):
            break  # what follows is material to work on
        found.extend(_split(sentence))
    return found


def is_english(text: str) -> bool:
    """A rough, cheap guard: enough of the words are common English ones. The verbs of the lexicon do the rest."""
    words = [word.lower() for word in _WORD.findall(text)[:200]]
    if not words or sum(not letter.isascii() and letter.isalpha() for letter in text[:1000]) > len(text[:1000]) * 0.1:
        return False
    known = sum(word in FUNCTION_WORDS or word in _SPELLINGS for word in words)
    return known >= max(1, len(words) * 0.2)


def _is_conversation(text: str) -> bool:
    """A message with lines of several speakers, or that begins "Alice: I …", repeats others' words."""
    if len(_SPEAKER.findall(text)) > 1:
        return True
    spoken = _ONE_SPEAKER.match(text)
    return spoken is not None and spoken.group(1) not in _HEADINGS


def _without_markup(content: str) -> str:
    text = content.replace("⟦", " ").replace("⟧", " ").replace("’", "'").replace("‘", "'")
    if "`" in text or "~~~" in text:
        text = _INLINE_CODE.sub(" CODE ", _FENCED.sub("\n", text))
    if "http" in text or "www." in text:
        text = _URL.sub(" ", text)
    lines = [line for line in text.splitlines() if line.strip() and not _CODE_LINE.search(line)]
    # White space is evened before the patterns that skip it, so that no run of it is walked twice.
    return _ASIDE.sub("", "\n".join(" ".join(line.split()) for line in lines))


def _is_creative(text: str) -> bool:
    """Role play and creative writing put words in others' mouths, so all of the message is left alone."""
    return _starts_request(text) or _CREATIVE.match(text) is not None or "act as" in text.lower()


_REQUEST_WORDS = re.compile(
    r"^\W*(?:(?:hey|hi|hello|please|pls|ok|okay|so|now|can you|could you|would you|will you|"
    r"i want you to|i need you to|i'd like you to|help me)\W+)*"
    r"(?:write|translate|rewrite|rephrase|proofread|correct|fix|improve|edit|polish|summari[sz]e|"
    r"paraphrase|shorten|act|pretend|imagine|"
    r"continue|complete|analy[sz]e|classify|format|convert|reply|respond|answer|create|generate|"
    r"compose|draft|role-?play|you are|make|give|check)\b",
    re.IGNORECASE,
)


def _starts_request(text: str) -> bool:
    return _REQUEST_WORDS.match(text) is not None


def _hands_over(sentence: str) -> bool:
    return re.search(r"\b(?:this|following|below)\b", sentence, re.IGNORECASE) is not None


def _sentences(text: str) -> list[tuple[str, str]]:
    """Pairs of a sentence and what ended it. A full stop after an abbreviation ends none."""
    found: list[tuple[str, str]] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if match.start() < start or _ABBREVIATION.search(text, max(start, match.start() - 8), match.start()):
            continue
        found.append((text[start : match.start()].strip(), match.group()))
        start = match.end()
    found.append((text[start:].strip(), ""))
    return [each for each in found if each[0]]


def _split(sentence: str) -> list[Clause]:
    if not _may_state(sentence) or _SARCASM.search(sentence):
        return []
    quotes = _QUOTE.findall(sentence)
    if any(_QUOTE_IS_SPEECH.search(quote) for quote in quotes) or sentence.count('"') % 2:
        return []
    if sentence.isupper() and len(sentence) > _SHOUTED_CHARS_MIN:
        sentence = sentence.capitalize()
    asked = sentence.rstrip("\"')]! ").endswith("?")
    even = _TOGETHER.sub(r"\1 and‿I", _evened(_EMOJI.sub(" ", sentence)))
    pieces = [piece.strip(" ,.!?…*_#>~") for piece in _CLAUSE_END.split(even) if piece]
    pieces = [piece for piece in pieces if piece]
    pieces = _glued(pieces)
    asserted = [not _ASKS_UNMARKED.match(piece) and not _REPORTED.match(piece) for piece in pieces]
    for at, piece in enumerate(pieces):
        if _SUPPOSED.match(piece) or _REPORTED.match(piece):
            asserted[at:] = [False] * (len(pieces) - at)  # "if I lived there, I would …": the rest hangs on it
            break
    if asked and pieces:
        asserted = _asserted_in_question(sentence, pieces, asserted)
    return [Clause(piece, at == 0, asserted[at]) for at, piece in enumerate(pieces)]


def _may_state(sentence: str) -> bool:
    """A cheap look that spares most small talk the rest: does it speak of its writer at all, or begin with a past verb?"""
    if _OF_ONESELF.search(sentence):
        return True
    return any(
        form is Form.PAST for word in sentence.lower().split(None, 4)[:4] for _, form in readings(word.strip(",.!:"))
    )


def _glued(pieces: list[str]) -> list[str]:
    """A piece that only says when ("Yesterday", "So last weekend") belongs to the next one."""
    glued: list[str] = []
    waiting = ""
    for piece in pieces:
        spans = find_dates(piece) if len(piece) < _ONLY_A_DATE_CHARS else []
        if spans and spans[-1].end == len(piece) and len(piece[: spans[0].start].split()) <= 1 and len(spans) == 1:
            waiting = f"{waiting} {piece}".strip()
            continue
        glued.append(f"{waiting} {piece}".strip())
        waiting = ""
    return [*glued, waiting] if waiting else glued


def _asserted_in_question(sentence: str, pieces: list[str], asserted: list[bool]) -> list[bool]:
    """Of a sentence that asks, only what stands before the question is asserted ("I live in Graz, is that near?")."""
    opens = next((at for at, piece in enumerate(pieces) if _ASKS.match(piece)), None)
    if opens is None:
        if len(pieces) == 1 or not _TAG_QUESTION.search(sentence):
            return [False] * len(pieces)
        opens = len(pieces) - 1
    return [asserted[at] and at < opens for at in range(len(pieces))]


def _evened(sentence: str) -> str:
    """Contractions opened and common chat spellings corrected, so that one form of each word is left to read."""

    def even(match: re.Match[str]) -> str:
        word = match.group()
        return _SPELLINGS.get(word.lower(), word)

    return _WORD.sub(even, _NOT.sub(r"\1 not", sentence))
