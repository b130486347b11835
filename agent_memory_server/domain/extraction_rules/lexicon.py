"""The words that the rules know. A verb, relation or adjective that is not here makes no memory: precision comes first.

Verbs are listed by their base form, one set a use; irregular forms are spelled out, regular ones are derived.
"""

from __future__ import annotations

from types import MappingProxyType


def words(text: str) -> frozenset[str]:
    """A set of words from a text, so that long lists stay readable."""
    return frozenset(text.split())


PREFERENCE_VERBS = words("love like enjoy hate prefer dislike adore loathe detest favor favour crave")
"""Their object must be something one can like for longer than a moment; see ``predicates``."""

HABIT_VERBS = words(
    "watch live work study play speak use drive own run cook eat drink commute teach manage lead volunteer sing "
    "write paint weigh "
    "report attend belong wear collect swim practice practise read suffer code travel come meditate train "
    "coach smoke "
    "vape earn rent bake garden hike climb ride dance identify avoid support raise breed surf ski cycle bike "
    "knit sew draw "
    "sketch fish hunt camp brew juggle fence row sail jog homeschool freelance mentor tutor blog stream grow "
    "major "
    "specialize specialise program snowboard skate skateboard foster babysit farm design photograph compose "
    "direct employ"
)
"""Said in the present, they describe how someone lives."""

HABIT_VERBS_NEGATED = HABIT_VERBS | words(
    "have watch trust own celebrate sleep dye do believe listen want shave celebrate"
)

EVENT_VERBS = words(
    "move go buy get start quit leave join finish graduate meet visit adopt lose win sign run marry sell "
    "break grow "
    "study work live attend travel fly drive hike order cancel register pass fail receive book publish launch "
    "build "
    "write paint cook bake celebrate host volunteer apply switch retire injure hurt spend learn discover "
    "train complete "
    "enroll enrol purchase subscribe divorce separate propose give bear turn begin hire fire promote relocate "
    "emigrate "
    "immigrate inherit adopt rent renovate compete perform organize organise participate land stop swim climb "
    "ride play "
    "watch read see take do have make come camp surf ski cycle plant create draw sketch record release open "
    "close found "
    "drop repair fix raise donate earn save pay return ship recover undergo develop become switch settle date "
    "rescue foster "
    "teach coach mentor collect eat drink try set invest enter earn land upgrade install sprain catch explore "
    "treat "
    "interview accept reject plan decide resign elope die crash steal rob arrive graduate change bring "
    "redecorate major "
    "transition reconnect accomplish achieve display exhibit knit sew submit qualify score reach sail walk "
    "bike jog "
    "hang stay check photograph hit host design redo grill roast host pick choose sponsor teach tour wake "
    "fall call"
)
"""Said in the past (or perfect) they tell of something that happened, if what follows says what."""

EVENT_VERBS_DATED = words(
    "do have make take see try call give set fix check walk pay bring call pick wake stay fall watch hit "
    "return stop close "
    "hang drop play read eat drink come treat pass catch arrive change"
)
"""Events too common to tell by themselves: the statement must also say when, or name something (a capital letter)."""

PROGRESSIVE_VERBS = (
    HABIT_VERBS
    | EVENT_VERBS
    | words(
        "expect prepare save plan care recover date raise undergo pursue develop research battle fight home "
        "consider wait"
    )
) - words(
    "get make have do come start try call check see give take use call wait pay set fix read write return "
    "close stop call "
    "run hit go leave order submit lose fall hang bring break treat put fail support watch decide accept "
    "report stay"
)
"""Said as "is …-ing" they describe a phase of life or a plan; the ones removed mostly describe the moment."""

PROGRESSIVE_VERBS_DATED = words("get go have take see leave start come meet fly run submit give do make host")
"""…-ing verbs that make a plan when the statement says when."""

PLAN_VERBS = words(
    "run learn become visit travel move start save buy lose quit study open adopt get marry retire write "
    "build join climb "
    "hike swim train volunteer apply live go take attend sell see teach continue pursue work graduate publish "
    "launch "
    "propose host celebrate fly drive paint have make create switch give raise grow register camp try compete "
    "play become "
    "perform renovate homeschool foster read explore spend meet"
)
"""After "want to", "plan to", "going to" they make a plan."""

PLAN_VERBS_VAGUE = words("go get have take see give try make create run build write start use work play read spend")
"""Plans with these need a date or a name to be worth keeping: "I want to get a coffee" is not."""

ABILITY_VERBS = words(
    "eat have drink drive swim stand tolerate see hear walk read speak play cook digest ride sleep afford fly"
)
"""After "cannot" (and, for skills, "can") they say something lasting."""
SKILL_VERBS = words("swim drive speak play cook ride read code type sing dance juggle")

IRREGULAR = MappingProxyType(
    {
        "go": ("went", "gone"),
        "buy": ("bought", "bought"),
        "get": ("got", "gotten"),
        "quit": ("quit", "quit"),
        "leave": ("left", "left"),
        "meet": ("met", "met"),
        "lose": ("lost", "lost"),
        "win": ("won", "won"),
        "run": ("ran", "run"),
        "sell": ("sold", "sold"),
        "break": ("broke", "broken"),
        "grow": ("grew", "grown"),
        "fly": ("flew", "flown"),
        "drive": ("drove", "driven"),
        "build": ("built", "built"),
        "write": ("wrote", "written"),
        "hurt": ("hurt", "hurt"),
        "spend": ("spent", "spent"),
        "learn": ("learned", "learned"),
        "give": ("gave", "given"),
        "bear": ("bore", "born"),
        "begin": ("began", "begun"),
        "swim": ("swam", "swum"),
        "ride": ("rode", "ridden"),
        "read": ("read", "read"),
        "see": ("saw", "seen"),
        "take": ("took", "taken"),
        "do": ("did", "done"),
        "have": ("had", "had"),
        "make": ("made", "made"),
        "come": ("came", "come"),
        "draw": ("drew", "drawn"),
        "pay": ("paid", "paid"),
        "undergo": ("underwent", "undergone"),
        "become": ("became", "become"),
        "teach": ("taught", "taught"),
        "eat": ("ate", "eaten"),
        "drink": ("drank", "drunk"),
        "set": ("set", "set"),
        "catch": ("caught", "caught"),
        "steal": ("stole", "stolen"),
        "bring": ("brought", "brought"),
        "redo": ("redid", "redone"),
        "hang": ("hung", "hung"),
        "hit": ("hit", "hit"),
        "choose": ("chose", "chosen"),
        "wake": ("woke", "woken"),
        "fall": ("fell", "fallen"),
        "sing": ("sang", "sung"),
        "speak": ("spoke", "spoken"),
        "wear": ("wore", "worn"),
        "lead": ("led", "led"),
        "knit": ("knitted", "knitted"),
        "breed": ("bred", "bred"),
        "sleep": ("slept", "slept"),
        "stand": ("stood", "stood"),
        "find": ("found", "found"),
        "die": ("died", "died"),
    }
)
DOUBLED = words(
    "stop plan travel cancel quit run swim get set hit win begin drop jog program bet rob blog submit enrol"
)
"""Their last consonant doubles before -ed and -ing (British and American spellings are both read)."""

INTRANSITIVE = words(
    "smoke vape meditate retire graduate elope die drive swim divorce separate relocate emigrate freelance snowboard"
)
"""These say enough without an object."""

RELATIONS = words(
    "wife husband partner girlfriend boyfriend fiance fiancee fiancé fiancée spouse ex mother father mom mum "
    "dad mama papa parents "
    "brother brothers sister sisters sibling siblings twin twins son sons daughter daughters kid kids child "
    "children baby toddler "
    "grandmother grandfather grandma grandpa granny nana grandparents grandson granddaughter grandkids aunt "
    "uncle "
    "cousin cousins niece nephew nieces nephews stepson stepdaughter stepmother stepfather stepdad stepmom "
    "family friend friends roommate roommates flatmate housemate neighbor neighbour neighbors neighbours "
    "colleague coworker boss manager "
    "supervisor mentor teacher coach therapist doctor landlord dog dogs cat cats puppy kitten horse rabbit "
    "parrot hamster pet pets bird "
    "mother-in-law father-in-law brother-in-law sister-in-law in-laws girlfriends bestie team company employer"
)

ATTRIBUTES = words(
    "name birthday nickname surname job profession occupation hobby hobbies goal dream hometown nationality "
    "religion pronouns "
    "height weight budget rent car bike pet major degree language anniversary timezone username email address "
    "phone number blood type allergy diet salary income size wedding house apartment flat background "
    "specialty database stack "
    "editor laptop phone os passion favorite favourite "
)
"""Nouns N for which "my N is …" is a lasting fact."""

LASTING_ADJECTIVES = words(
    "vegetarian vegan pescatarian married divorced single engaged pregnant widowed retired unemployed "
    "self-employed blind deaf "
    "dyslexic autistic diabetic asthmatic epileptic left-handed right-handed allergic lactose-intolerant "
    "intolerant coeliac celiac "
    "gluten-free kosher halal muslim christian jewish hindu buddhist atheist catholic gay lesbian bisexual "
    "transgender trans "
    "nonbinary non-binary american british german french italian spanish portuguese indian chinese japanese "
    "korean mexican canadian "
    "australian irish scottish dutch swedish norwegian danish finnish polish ukrainian russian turkish "
    "brazilian nigerian kenyan "
    "based colorblind colourblind color-blind hearing-impaired disabled bilingual trilingual fluent born "
    "originally adopted introverted "
    "extroverted tall sober anemic hypertensive freelance vaccinated homeschooled"
)

TRANSIENT_NOUNS = words(
    "question questions problem problems issue issues idea ideas feeling feelings look fun time times doubt "
    "doubts error errors chance "
    "clue point trouble choice nothing something anything everything minute moment sec second "
    "luck blast day way thought "
    "thoughts news plan plans favor favour thing things stuff rest hope access bug request concern concerns "
    "comment comments suggestion "
    "look reason impression conversation chat talk guess preference laugh following hang turnout surge mix "
    "headache recipe recipes receipt dream cold fever hangover cough option options version answer count "
    "train track patience temper "
    "crazy bed joke soul complaint picture pictures photo photos pic pics story stories "
    "memory memories vibe vibes kick sense glimpse "
    "taste"
)
"""Nouns that, held or liked, say nothing lasting about their holder."""

WORKING_NOUNS = words(
    "list file files code function class table string array dataframe column row script variable loop text "
    "sentence essay paragraph "
    "command query json csv regex api endpoint dockerfile container docker repo branch commit stacktrace log "
    "logs exception test tests server task tasks build config pr ticket deploy pipeline screenshot settings "
    "page link button tab form nap call docs migration wifi path"
)
"""Things worked on in this conversation: owning or using them says nothing lasting."""

TRANSIENT_PREDICATES = words(
    "bit little lot fool mess idiot wreck fan while moment good bad great huge total complete human person "
    "robot ai language bot assistant joke legend star failure believer"
)
"""Nouns and adjectives N of "I am a N" that are talk, not facts ("a huge fan of …" is read as a preference)."""

VAGUE_OBJECTS = words(
    "it that this them those these you him what how where why if whether when who so one ones there here "
    "something anything "
    "everything nothing stuff things thing someone somebody everyone then now too well much more some any all "
    "back home "
    "up down out off over away again ready done better used few more project projects hard new couple several "
    "loads"
)

MEANINGFUL_ADVERBS = words(
    "never usually often always rarely sometimes still currently mostly mainly occasionally normally "
    "regularly seldom hardly once"
)
FILLER_ADVERBS = words(
    "just actually really literally basically totally finally kinda kind-of also even already only simply "
    "honestly truly absolutely "
    "definitely officially personally generally recently now lately soon ever quite so very sorta "
    "obviously certainly "
    "both fully completely deeply particularly especially all eventually successfully proudly"
)

FUNCTION_WORDS = words(
    "a an the and or but so because as at by for from in into of on onto out over to up with without about "
    "after before between during "
    "i we me my our us he she it they them his her its their you your this that these those there here what "
    "which who how when where "
    "why be am is are was were been being have has had do does did will would can could should may might must "
    "not no than then too very "
    "just also some any all more most much many lot one two again still really if while though since until "
    "back off down away such own "
    "same other another every each both only even now well good great nice ever never always like got get "
    "going go went it's i'm don't "
    "make made take took last next year month week day today yesterday please work live love want need think "
    "know time new people"
)
"""Common English words: they hold no content of their own, and their share tells English from other languages."""
