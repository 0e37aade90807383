"""Text that compresses as prose does: invented words, the frequent ones far more frequent than the rest."""

from __future__ import annotations

import itertools
import random

__all__ = ["Prose"]

ONSETS = [
    "b",
    "br",
    "d",
    "f",
    "g",
    "gr",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "",
]
NUCLEI = ["a", "e", "i", "o", "u", "ai", "ea", "ou"]
CODAS = ["", "", "n", "r", "s", "t", "nd", "l", "ck", "m"]
VOCABULARY = 9000
SETTLING = 4
"""Flattens the head of the curve: in prose no single word is a fifth of all."""


class Prose:
    """A vocabulary with Zipf's frequencies; the same seed gives the same text."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._words = sorted({self._word() for _ in range(2 * VOCABULARY)})
        self.random.shuffle(self._words)
        del self._words[VOCABULARY:]
        shares = (1 / (rank + SETTLING) for rank in range(len(self._words)))
        self._shares = list(itertools.accumulate(shares))

    def _word(self) -> str:
        pick = self.random.choice
        syllables = pick((1, 1, 2, 2, 3))
        return "".join(pick(ONSETS) + pick(NUCLEI) + pick(CODAS) for _ in range(syllables))

    def words(self, number: int) -> list[str]:
        return self.random.choices(self._words, cum_weights=self._shares, k=number)

    def text(self, words: int) -> str:
        return " ".join(self.words(words))
