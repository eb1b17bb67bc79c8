"""Numbers between bounds as rules of a grammar, in decimal notation."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from math import ceil, floor
from typing import NamedTuple

from toolgrove.templates.rules import Rules, either, one_of

DIGITS = 60
"""how many digits a whole number may have"""
_MANY = 200
"""how many multiples are listed one by one"""
_LARGEST_STEP = 32
"""up to which step multiples are told by their digits"""
_MINUS = '"-"?'
_FRACTION = '("." [0-9]{1,40})?'
_MORE = "[0-9]{0,20}"
_EXPONENT = '("0"? [0-9]{1,2} | [12] [0-9] [0-9] | "30" [0-7])'
_LEAST_EXPONENT = 323
"""behind which a digit other than 0 is still no 0"""
_TOP = "7976931348623157"
"""the digits after "1." of the greatest number, whose exponent is 308"""
_HUGE = (
    "("
    + " | ".join(['"1"', *(f'"1.{_TOP[:count]}"' for count in range(1, len(_TOP) + 1))])
    + "".join(f' | "1.{_TOP[:n]}" [0-{int(d) - 1}] [0-9]{{0,40}}' for n, d in enumerate(_TOP))
    + ') [eE] "+"? "308"'
)
_WHOLE = f'("0" | [1-9] [0-9]{{0,{DIGITS - 1}}})'
_PLAIN_FROM, _PLAIN_BELOW = Decimal("0.0001"), Decimal(10) ** 16
"""between these, Python writes numbers without an exponent"""


class Bound(NamedTuple):
    """The end of a range; ``open``: the value itself lies outside."""

    value: Decimal
    open: bool = False


def bound(value: float | None, barred: float | None, most: bool) -> Bound | None:
    """The narrower one of a bound that is allowed itself and one that is not."""
    found = [
        Bound(Decimal(repr(number)), is_open)
        for number, is_open in ((value, False), (barred, True))
        if number is not None
    ]
    if not found:
        return None
    sign = -1 if most else 1
    return max(found, key=lambda one: (sign * one.value, one.open))


def whole(limit: Bound | None, most: bool) -> int | None:
    """The last whole number inside a bound."""
    if limit is None:
        return None
    near = floor(limit.value) if most else ceil(limit.value)
    outside = limit.open and near == limit.value
    return near + (-1 if most else 1) * outside


def integers(low: int | None = None, high: int | None = None) -> str:
    """The decimal whole numbers from ``low`` to ``high``; without them up to ``DIGITS`` digits."""
    if low is None and high is None:
        return f'("0" | {_MINUS} [1-9] [0-9]{{0,{DIGITS - 1}}})'
    options: list[str] = []
    if high is None or high >= 0:
        options += _naturals(max(low or 0, 0) if low is not None else 0, high)
    if low is None or low < 0:
        lowest = None if low is None else -low
        highest = 1 if high is None or high >= 0 else -high
        options += [f'"-" {body}' for body in _naturals(highest, lowest)]
    return either(options) if options else one_of([str(low)])


def multiples(rules: Rules, step: int, low: int | None, high: int | None) -> str | None:
    """The whole multiples of ``step`` between bounds; None where they are too many to tell."""
    if low is not None and high is not None:
        first = -(-low // step) * step
        if (high - first) // step < _MANY:
            listed = [str(number) for number in range(first, high + 1, step)]
            return one_of(listed) if listed else None
    if high is not None or low not in (None, 0) or step > _LARGEST_STEP:
        return None

    def after(rest: int) -> str:
        def body() -> str:
            return " | ".join([*(['""'] if not rest else []), *steps(rest, range(10))])

        return rules.named(("multiple", step, rest), body)

    def steps(rest: int, digits: Iterable[int]) -> list[str]:
        by_rest: dict[int, str] = {}
        for digit in digits:
            target = (rest * 10 + digit) % step
            by_rest[target] = by_rest.get(target, "") + str(digit)
        return [f"[{listed}] {after(target)}" for target, listed in by_rest.items()]

    positive = rules.rule(" | ".join(steps(0, range(1, 10))), DIGITS)
    return f'("0" | {positive})' if low == 0 else f'("0" | {_MINUS} {positive})'


def numbers(low: Bound | None = None, high: Bound | None = None) -> str:
    """The decimal numbers from ``low`` to ``high``, as JSON writes them, with an exponent only
    where ``left_out`` says nothing."""
    if low is None and high is None:
        mantissa = f"{_MINUS} [0-9] {_FRACTION} [eE]"
        exponents = f'{mantissa} ([+\\-]? {_EXPONENT} | "-3" [0-9] [0-9])'
        return f"({_MINUS} {_WHOLE} {_FRACTION} | {exponents} | {_MINUS} {_HUGE})"
    zero = Bound(Decimal(0))
    options: list[str] = []
    if high is None or high.value >= 0:
        options += _positive(low if low is not None and low.value >= 0 else zero, high)
    if low == zero:
        options.append('"-0.0"')
    if low is None or low.value < 0:
        least = zero if high is None or high.value >= 0 else _mirrored(high)
        if high is not None and high == Bound(Decimal(0), open=True):
            least = high
        most = None if low is None else _mirrored(low)
        options += [f'"-" {body}' for body in _positive(least, most)]
    return either(options) if options else '"0"'


def left_out(low: Bound | None, high: Bound | None) -> str:
    """Which numbers between the bounds ``numbers`` leaves out, in words; empty: none."""
    near = [one.value for one in (low, high) if one is not None]
    if any(0 < abs(value) < _PLAIN_FROM for value in near):
        return f"numbers nearer to 0 than {_PLAIN_FROM} are left out"
    far = (high is not None and high.value > _PLAIN_BELOW) or (
        low is not None and low.value < -_PLAIN_BELOW
    )
    return "numbers with an exponent from 16 on are left out" if far else ""


def _mirrored(one: Bound) -> Bound:
    return Bound(-one.value, one.open)


def _positive(low: Bound, high: Bound | None) -> list[str]:
    """Numbers from ``low`` >= 0 to ``high``, with or without a fraction or an exponent."""
    whole, digits = _parts(low.value)
    options: list[str] = []
    if high is None:
        options += [f"{body} {_FRACTION}" for body in _naturals(whole + 1, None)]
        options += [f'"{whole}" {rest}' for rest in _at_least(digits, low.open)]
    elif low.value > high.value or (low.value == high.value and (low.open or high.open)):
        return []
    else:
        top, top_digits = _parts(high.value)
        options += [f"{body} {_FRACTION}" for body in _naturals(whole + 1, top - 1)]
        if whole < top:
            options += [f'"{whole}" {rest}' for rest in _at_least(digits, low.open)]
            options += [f'"{top}" {rest}' for rest in _at_most(top_digits, high.open)]
        else:
            both = _between(digits, top_digits, low.open, high.open)
            options += [f'"{whole}" {rest}' for rest in both]
    if low.value == 0:
        options += _tiny(low, high)
    if high is None and low.value < 10**15:
        exponents = '("1" [6-9] | [2-9] [0-9] | [12] [0-9] [0-9] | "30" [0-7])'
        options += [f'[1-9] {_FRACTION} [eE] "+"? {exponents}', _HUGE]
    return options


def _tiny(low: Bound, high: Bound | None) -> list[str]:
    """Numbers with a negative exponent, from 0 on."""
    exponent = 1
    while high is not None and high.value < Decimal(10) ** (1 - exponent):
        exponent += 1
        if exponent > _LEAST_EXPONENT:
            return []
    first = f"[{'1' if low.open else '0'}-9]"
    options = _naturals(max(exponent, 10), _LEAST_EXPONENT if low.open else 999)
    if exponent < 10:
        options.append(f'"0"? [{exponent}-9]')
    return [f'{first} {_FRACTION} [eE] "-" {either(options)}']


def _parts(value: Decimal) -> tuple[int, str]:
    """The whole part of a number >= 0, and its digits after the point."""
    whole, _, digits = f"{value:f}".partition(".")
    return int(whole), digits.rstrip("0")


def _not_zero(lead: str) -> str:
    """Digits behind ``lead`` that are not all 0."""
    return f'"{lead}" "0"{{0,20}} [1-9] {_MORE}'


def _at_least(digits: str, is_open: bool) -> list[str]:
    """Fractions from ``.digits`` on."""
    if not digits:
        return [_not_zero(".")] if is_open else [_FRACTION]
    options = [
        f'".{digits[:place]}" [{int(digit) + 1}-9] {_MORE}'
        for place, digit in enumerate(digits)
        if digit != "9"
    ]
    return [*options, _not_zero(f".{digits}") if is_open else f'".{digits}" {_MORE}']


def _at_most(digits: str, is_open: bool) -> list[str]:
    """Fractions up to ``.digits``."""
    if not digits:
        return [] if is_open else ['("." "0"{1,40})?']
    options = ['""', *(f'".{digits[:place]}"' for place in range(1, len(digits)))]
    options += [
        f'".{digits[:place]}" [0-{int(digit) - 1}] {_MORE}'
        for place, digit in enumerate(digits)
        if digit != "0"
    ]
    return options if is_open else [*options, f'".{digits}" "0"{{0,20}}']


def _between(low: str, high: str, low_open: bool, high_open: bool) -> list[str]:
    """Fractions from ``.low`` to ``.high``, which is greater or the same."""
    if low == high:
        return _at_most("", is_open=False) if not low else [f'".{low}" "0"{{0,20}}']
    size = max(len(low), len(high))
    padded = low.ljust(size, "0"), high.ljust(size, "0")
    same = next(n for n in range(size) if padded[0][n] != padded[1][n])
    lead, first, last = padded[0][:same], int(padded[0][same]), int(padded[1][same])
    options = [f'".{lead}" [{first + 1}-{last - 1}] {_MORE}'] if first + 1 < last else []
    for rest in _at_least(low[same + 1 :], low_open):
        options.append(f'".{lead}{first}" {_unpointed(rest)}')
    for rest in _at_most(high[same + 1 :], high_open):
        options.append(f'".{lead}{last}" {_unpointed(rest)}')
    if not low_open:
        options.append(f'".{low}" "0"{{0,20}}' if low else '("." "0"{1,40})?')
    return options


def _unpointed(rest: str) -> str:
    """A fraction's rule without its point."""
    if rest == _FRACTION:
        return "[0-9]{0,40}"
    return rest.replace('("." "0"{1,40})?', '"0"{0,40}').replace('"."', '""').replace('".', '"')


def _naturals(low: int, high: int | None) -> list[str]:
    """The decimal numbers from ``low`` >= 0 to ``high``, in pieces."""
    if high is not None and high < low:
        return []
    options: list[str] = []
    if low == 0:
        options.append('"0"')
        low = 1
    first = str(low)
    last = len(str(high)) if high is not None else len(first)
    for length in range(len(first), last + 1):
        start = first if length == len(first) else "1" + "0" * (length - 1)
        end = str(high) if high is not None and length == last else "9" * length
        if int(start) <= int(end):
            options.append(_same_length(start, end))
    if high is None and len(first) < DIGITS:
        options.append(f"[1-9] [0-9]{{{len(first)},{DIGITS - 1}}}")
    return options


def _same_length(start: str, end: str) -> str:
    """The numbers of one length between two of that length."""
    size = len(start)
    if set(start[1:]) <= {"0"} and set(end[1:]) <= {"9"}:
        more = f" [0-9]{{{size - 1}}}" if size > 1 else ""
        return f"[{start[0]}-{end[0]}]{more}" if start[0] != end[0] else f'"{start[0]}"{more}'
    if start[0] == end[0]:
        return f'"{start[0]}" {_same_length(start[1:], end[1:])}'
    nines, zeros = "9" * (size - 1), "0" * (size - 1)
    options = [f'"{start[0]}" {_same_length(start[1:], nines)}']
    if int(start[0]) + 1 < int(end[0]):
        options.append(f"[{int(start[0]) + 1}-{int(end[0]) - 1}] [0-9]{{{size - 1}}}")
    options.append(f'"{end[0]}" {_same_length(zeros, end[1:])}')
    return either(options)
