"""Rouge-L: how much of a text's words another one has in the same order (Lin 2004)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[一-鿿぀-ヿ가-힯]|[^\W_]+")


def rouge_l(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """The F1 of the longest common subsequence of two lists of words; 0 where one is empty."""
    common = longest_common(candidate, reference)
    if not common:
        return 0.0
    precision, recall = common / len(candidate), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def longest_common(one: Sequence[str], two: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(two) + 1)
    for word in one:
        corner = 0
        for index, other in enumerate(two, 1):
            above = row[index]
            row[index] = corner + 1 if word == other else max(above, row[index - 1])
            corner = above
    return row[-1]


def words(text: str) -> list[str]:
    """The words of a text in lower case; of Chinese and Japanese, and Korean, each character."""
    return _WORD.findall(text.casefold())
