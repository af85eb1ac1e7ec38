"""How words are pronounced: in IPA, which people write, and in espeak-ng's own notation, which it speaks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kws.corpus.espeak import Espeak, without_switches
from kws.corpus.sentences import vocabulary
from kws.support.errors import KwsError

_VOWELS = set("aeiouyæøœɶɑɒɐɔəɘɚɛɜɝɞɤɨɪɯɵʉʊʌʏᵻ")
_BEFORE_R = _VOWELS | set("ˈˌ")
_STRESSES = {"ˈ": "'", "ˌ": ","}
_MARKS = "',%="  # of stress, before a phoneme in espeak-ng's notation

# What people write for the same sound, and what is tried for a symbol that an accent does not have.
_SPELLINGS = {
    "'": "ˈ", ":": "ː", "g": "ɡ", "ʤ": "dʒ", "ʧ": "tʃ", "ʦ": "ts", "ɫ": "l", "͡": "", ".": "", "‿": "", "|": "",
    "ɝ": "ɜː", "/": "", "[": "", "]": "",
}  # fmt: skip
_NEAR = {
    "r": "ɹ", "ɹ": "r", "ʁ": "r", "ɾ": "t", "e": "ɛ", "o": "ɔ", "a": "æ", "æ": "a", "ɛ": "e", "ɔ": "ɒ", "ɒ": "ɔ",
    "ɚ": "ə", "ɜ": "ə", "ʌ": "ɐ", "ɐ": "ə", "ɪ": "i", "i": "iː", "u": "uː", "ʊ": "u", "ɑ": "ɑː", "ɑː": "a", "ɜː": "ɜ",
    "ɔː": "ɔ", "oʊ": "əʊ", "əʊ": "oʊ", "eɪ": "eː", "eː": "eɪ", "oː": "oʊ", "ʔ": "t", "x": "k", "ç": "x", "ʍ": "w",
    "ɱ": "m", "ᵻ": "ɪ", "y": "yː", "ø": "øː",
    "ʉ": "u", "ʉː": "uː", "ɵ": "ʊ", "ɹ̩": "ɚ",
}  # fmt: skip


@dataclass(frozen=True)
class Notation:
    """The phonemes of an accent in both notations, stresses left out."""

    own: Mapping[str, str]  # by IPA: espeak-ng's own
    ipa: Mapping[str, str]  # by espeak-ng's own: IPA

    def phonemes(self, ipa: str) -> list[list[str]]:
        """Words in espeak-ng's notation, phoneme by phoneme; `'` before a vowel marks its stress.

        A stress may stand before its syllable, as dictionaries write it, or before its vowel, as espeak-ng does.

        Raises:
            ValueError: the first symbol that the accent does not know.
        """
        words = []
        for word in spelled(ipa).split():
            found, stress, place = [], "", 0
            while place < len(word):
                if word[place] in _STRESSES:
                    stress, place = _STRESSES[word[place]], place + 1
                    continue
                symbol = self._longest(word, place)
                vowel = symbol[0] in _VOWELS
                found.append((stress if vowel else "") + self._own(symbol))
                stress, place = "" if vowel else stress, place + len(symbol)
            if not found:
                raise ValueError(word)
            words.append(found)
        return words

    def text(self, ipa: str) -> str:
        """What espeak-ng is given to say `ipa`: `[[dZ|'I|f]]`."""
        return f"[[{' '.join('|'.join(word) for word in self.phonemes(ipa))}]]"

    def read(self, text: str) -> str:
        """IPA of a text in espeak-ng's notation, `[[dZ|'I|f]]`; what the accent does not know stays as it is."""
        words = []
        for word in text.strip("[]").split():
            sounds = []
            for phoneme in word.split("|"):
                plain = phoneme.lstrip(_MARKS)
                stress = {"'": "ˈ", ",": "ˌ"}.get(phoneme[:1], "")
                sounds.append(stress + self.ipa.get(plain, plain))
            words.append("".join(sounds))
        return " ".join(words)

    def _longest(self, word: str, place: int) -> str:
        longest = max(map(len, self.own), default=1)
        for length in range(longest, 0, -1):
            symbol = word[place : place + length]
            if symbol not in self.own and symbol not in _NEAR:
                continue
            if len(symbol) > 1 and symbol[-1] in "ɹr" and word[place + length : place + length + 1] in _BEFORE_R:
                continue  # the r begins the next syllable
            return symbol
        raise ValueError(word[place])

    def _own(self, symbol: str) -> str:
        tried = []
        while symbol not in tried:
            if symbol in self.own:
                return self.own[symbol]
            tried.append(symbol)
            symbol = _NEAR.get(symbol, symbol)
        raise ValueError(tried[0])


def notation(espeak: Espeak, accents: Sequence[str], words: Iterable[str] = ()) -> Notation:
    """The phonemes that accents use, found by letting them read many words; where they differ, the first counts."""
    own, ipa = {}, {}
    texts = (*sorted(vocabulary()), *_probes(), *words)
    for accent in accents:
        pairs = Counter(
            (mnemonic.lstrip(_MARKS), symbols.lstrip("ˈˌ"))
            for text in texts
            for mnemonic, symbols in _native(espeak.notation(text, accent))
        )
        # Of several phonemes that are written alike the one that most words have, but hardly an r-coloured vowel:
        # the next accent would say its r.
        ranked = sorted(pairs, key=lambda pair: (_coloured(*pair), -pairs[pair], pair))
        for mnemonic, symbols in ranked:
            own.setdefault(symbols, mnemonic)
        for mnemonic, symbols in sorted(pairs, key=lambda pair: (-pairs[pair], pair)):
            ipa.setdefault(mnemonic, symbols)
    return Notation(own, ipa)


def _native(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The phonemes of a text that are the accent's; none where a word is read as another language's."""
    foreign = any("(" in symbols for _, symbols in pairs)
    return [] if foreign else [pair for pair in pairs if all(without_switches([one]) for one in pair)]


def _coloured(mnemonic: str, ipa: str) -> bool:
    """Whether a vowel is one that other accents end with an r, though this one does not."""
    return (len(mnemonic) > 1 and mnemonic.endswith("@") and ipa[-1] not in "əɹr") or (mnemonic, ipa) == ("3", "ə")


def _probes() -> list[str]:
    """Words with rarer sounds, and letters, alone and together, between others: what a spelling can have."""
    words = (
        *("father", "vision", "treasure", "think", "church", "judge", "nurse", "boy", "cow", "book", "calm"),
        *("beautiful", "singer", "button"),
    )
    vowels = "a e i o u y ä ö ü å ø æ é è ê ó ò í ú á à â ã õ aa ee ie oo eh ah oh uh au äu eu ei ai oi ou an on in"
    consonants = "b c ch ck d f g h j k l m n ng p pf q r s sch sp st ß t tsch th tz v w x z ç ñ ł š ž č"
    texts = [*words]
    for vowel in vowels.split():
        texts += [f"b{vowel}b", f"b{vowel}"]
    for consonant in consonants.split():
        texts += [f"{consonant}a{consonant}", f"i{consonant}a{consonant}e"]
    return texts


def spelled(ipa: str) -> str:
    """IPA with one spelling for what people write in several."""
    for written, symbol in _SPELLINGS.items():
        ipa = ipa.replace(written, symbol)
    return ipa


def check_pronunciations(pronunciations: Mapping | None, words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`data.pronunciations` as tuples of IPA by word, after refusing words that are not said."""
    checked = {}
    for word, said in (pronunciations or {}).items():
        if word not in words:
            raise KwsError(
                f"data.pronunciations has {word!r}, which is none of data.words ({', '.join(words)}); correct either"
            )
        said = [said] if isinstance(said, str) else list(said or ())
        if not said or not all(isinstance(one, str) and one.strip() for one in said):
            raise KwsError(
                f"data.pronunciations.{word}={said!r} is no pronunciation; write IPA in quotes, such as 'dʒˈɪf', or a "
                "list of several"
            )
        checked[word] = tuple(said)
    return checked


def readings(
    pronunciations: Mapping[str, Sequence[str]], words: Sequence[str], table: Notation
) -> dict[str, tuple[str, ...]]:
    """What espeak-ng is given for each word: the word itself, or its pronunciations in its own notation."""
    given = {word: (word,) for word in words}
    for word, said in pronunciations.items():
        try:
            given[word] = tuple(table.text(one) for one in said)
        except ValueError as error:
            raise KwsError(
                f"data.pronunciations.{word}: {str(error)!r} is no sound of this language to espeak-ng; it knows "
                f"{' '.join(sorted(table.own))}"
            ) from error
    return given


def shown(
    espeak: Espeak, given: Mapping[str, Sequence[str]], accents: Sequence[str], overridden: Mapping[str, Sequence[str]]
) -> list[str]:
    """A sentence for each word with its phonemes in IPA, as the accents say it."""
    sentences = []
    for word in given:
        if word in overridden:
            sentences.append(f"{word}: {', '.join(overridden[word])} (data.pronunciations)")
            continue
        said: dict[str, list[str]] = {}
        for accent in accents:
            said.setdefault(espeak.ipa(word, accent), []).append(accent.split("/")[-1])
        sentences.append(f"{word}: " + ", ".join(f"{ipa} ({' '.join(names)})" for ipa, names in said.items()))
    return sentences
