"""English sentences out of a random generator: what voices read where any running speech will do.

A small grammar over everyday words. Its sentences need no sense, only the sounds of English in the neighbourhoods in
which people say them: short words among others, words with other words inside, words that begin or end alike.
"""

from collections.abc import Collection

import numpy as np

# fmt: off
PEOPLE = (
    "my brother", "her sister", "the doctor", "a neighbour", "our teacher", "the old man", "somebody", "everyone",
    "the children", "his uncle", "Martha", "Oliver", "Joseph", "the driver", "a stranger", "the captain", "we",
    "they", "I", "you", "she", "he", "my grandmother", "the woman next door", "that boy", "the postman", "a farmer",
    "Susan", "the manager", "their cousin", "William", "the girl in the red coat", "nobody", "both of them",
    "a young nurse", "the whole family", "Rosie", "Arthur", "the mayor", "most people", "Leopold", "Yolanda", "Rita",
    "Donald",
)
VERBS = (
    "bought", "found", "forgot", "painted", "carried", "sold", "remembered", "borrowed", "dropped", "noticed",
    "wanted", "cleaned", "opened", "closed", "repaired", "lifted", "followed", "liked", "described", "showed us",
    "threw away", "broke", "ordered", "counted", "washed", "picked", "moved", "covered", "loaded", "stored", "locked",
    "topped", "lost", "stole", "copied", "downloaded", "updated", "studied", "wrapped", "rode past", "wrote about",
    "sliced", "left behind", "stopped at", "lighted", "hid", "brightened", "drowned", "gathered", "yelled about",
    "chopped", "inherited", "measured", "polished", "rewrote", "stacked", "swept", "tightened", "unloaded", "weighed",
    "yielded",
)
THINGS = (
    "the kettle", "a bag of apples", "the garden gate", "an umbrella", "the newspaper", "two tickets", "a ladder",
    "the yellow bucket", "some honey", "the piano", "a loaf of bread", "her notebook", "the gold watch", "a goat",
    "the ghost story", "old photographs", "the bright lamp", "a stone", "the dusty attic", "nineteen boxes",
    "the rope", "a bowl of soup", "the boat", "his coat", "a note", "some toast", "the road map", "a yellow leaf",
    "the lettuce", "an old letter", "the snow", "a rose", "the telephone", "a pair of gloves", "the cupboard",
    "his supper", "a puppy", "the cup", "a stepladder", "the top shelf", "a shop", "the stuff", "fresh lemons",
    "the lounge", "brown sugar", "the whole town", "a crown", "a download", "the sound", "the mountain", "a rifle",
    "white rice", "the flight", "the night light", "a knife", "the highway", "nine stamps", "a yacht",
    "the chess set", "a yellow dress", "the nest", "the guest list", "a messenger", "the oboe", "a photo album",
    "an upset stomach", "the update", "a robot", "the loft", "a lift", "the theft", "dough", "the toe", "a hose",
    "some noodles", "a donut", "the gopher", "a cargo ship", "a stopwatch", "the workshop", "an envelope", "the lid",
    "a lobster", "the mop", "a crop of tomatoes", "the spot", "the stairs", "an island", "the pilot", "a dollar",
    "the doubt", "a towel", "the tower", "the dowry", "a cloud",
)
PLACES = (
    "in the kitchen", "behind the school", "at the station", "near the river", "under the bridge", "on the table",
    "at home", "in the garden", "across the street", "beside the window", "in an office on the third floor",
    "outside the library", "in the forest", "on a farm", "by the sea", "upstairs", "downstairs", "in town",
    "at the top", "in the middle of nowhere", "along the coast", "around the corner", "in the rain", "on the roof",
    "at the bakery", "at the market", "below the deck", "on the other side", "in the shadow", "over the hill",
    "in Rochester", "in Oslo", "in the upper drawer", "on the lower step", "at the workshop", "in Yorkshire",
    "in the barn", "on the sofa",
)
TIMES = (
    "yesterday", "last winter", "every morning", "on Sunday", "before breakfast", "after the storm", "at midnight",
    "a week ago", "these days", "once in a while", "for an hour", "the other day", "in November", "quite often",
    "later", "at about half past ten", "as soon as it was dark", "when the bell rang", "all summer", "not long ago",
    "again", "twice a year", "for the first time", "in the afternoon", "nowadays", "so far", "on Saturday night",
    "by dawn", "already", "ages ago", "until supper", "although it was late", "slowly", "tonight", "overnight",
    "at lunch",
)
DESCRIPTIONS = (
    "heavy", "rather cheap", "almost empty", "too small", "very old", "cold", "broken", "not so bad",
    "longer than usual", "wonderful", "a little strange", "louder than before", "nearly ready", "hollow", "yellow",
    "narrow", "shallow", "slower every year", "polite", "quite tight", "white", "bright enough", "too low", "upset",
    "gone", "open", "soft", "stuck", "stolen", "steep", "sour", "round", "brown all over", "ready to serve",
    "delicious", "left alone", "unknown",
)
REQUESTS = (
    "could you please bring me {thing}", "would you tell {person} about {thing}", "let's put {thing} {place}",
    "turn the music lower", "set a timer for {number} minutes", "show me the way to the museum",
    "read it to me {time}", "play something by a local band", "remind me to call the dentist {time}",
    "add {thing} to the list", "lock the doors", "what is the weather like {place}", "how far is it from here",
    "where did {person} put {thing}", "open the window", "make the room a bit warmer", "who wrote that song",
    "cancel the meeting {time}", "send a message to the office", "tell me a story about {thing}",
    "I would like {thing} and {thing}", "can we have {number} of those", "wait for me {place}",
    "please look for {thing} {place}", "dim the lights", "close the curtains {time}",
)
NUMBERS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fifteen", "twenty", "forty", "ninety", "a hundred", "zero point five", "nineteen ninety nine", "sixty four",
)
JOINTS = (
    "and", "but", "because", "so", "while", "although", "before", "until", "or else", "even though", "since",
)
OPENINGS = (
    "", "", "", "", "well,", "you know,", "oh,", "I think", "as far as I remember,", "look,", "of course", "hello,",
    "so,", "to be honest,", "in the end", "maybe", "apparently,", "it seems that", "okay,", "sure,",
)
PATTERNS = (
    "{person} {verb} {thing} {place} {time}", "{person} {verb} {thing} {time}", "{person} {verb} {thing}",
    "{time} {person} {verb} {thing}", "{thing} {place} was {description}", "{thing} looked {description} {time}",
    "there were {number} of them {place}", "{person} said that {thing} was {description}", "{request}", "{request}",
    "has {person} seen {thing} {place}", "why would {person} want {thing}", "{person} never {verb} {thing} {place}",
)
# fmt: on
_WORDS = {
    "person": PEOPLE,
    "verb": VERBS,
    "thing": THINGS,
    "place": PLACES,
    "time": TIMES,
    "description": DESCRIPTIONS,
    "number": NUMBERS,
    "request": REQUESTS,
}
_TRIES = 1000


def sentence(generator: np.random.Generator, without: Collection[str] = ()) -> str:
    """A sentence of one or two clauses in which none of the words `without`, in lower case, is said by itself.

    Raises:
        ValueError: so many words are left out that no sentence comes about.
    """
    for _ in range(_TRIES):
        clauses = [_fill(_one(PATTERNS, generator), generator)]
        if generator.random() < 0.4:
            clauses.append(f"{_one(JOINTS, generator)} {_fill(_one(PATTERNS, generator), generator)}")
        text = f"{_one(OPENINGS, generator)} {' '.join(clauses)}".strip()
        said = {word.strip(".,?'").lower() for word in text.split()}
        if said.isdisjoint(without):
            return text + _one((".", ".", "?"), generator)
    raise ValueError("hardly a sentence is possible without these words")


def vocabulary() -> set[str]:
    """The single words, in lower case, of which sentences are made."""
    texts = (text for texts in _WORDS.values() for text in texts)
    words = {word.lower() for text in texts for word in text.split() if "{" not in word}
    return {word for word in words if word.isalpha()}


def _fill(pattern: str, generator: np.random.Generator) -> str:
    while "{" in pattern:
        start, end = pattern.index("{"), pattern.index("}")
        pattern = pattern[:start] + _one(_WORDS[pattern[start + 1 : end]], generator) + pattern[end + 1 :]
    return pattern


def _one(choices: tuple[str, ...], generator: np.random.Generator) -> str:
    return choices[generator.integers(len(choices))]
