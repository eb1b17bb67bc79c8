"""What was found in all, with a bounded number of examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from toolgrove.data.doctor.findings import Finding, Kind, Severity


@dataclass(slots=True)
class Tally:
    """How often each kind was found, in how many rows, and the first findings of each kind."""

    examples: int = 200
    found: Counter[str] = field(default_factory=Counter[str])
    kinds: dict[str, Kind] = field(default_factory=dict[str, Kind])
    rows_with_errors: int = 0
    rows_with_warnings: int = 0
    kept: dict[str, list[Finding]] = field(default_factory=dict[str, list[Finding]])

    def add(self, findings: list[Finding]) -> None:
        """Counts the findings of one row."""
        severities = {finding.kind.severity for finding in findings}
        self.rows_with_errors += Severity.ERROR in severities
        self.rows_with_warnings += severities == {Severity.WARNING}
        for finding in findings:
            code = finding.kind.code
            self.found[code] += 1
            self.kinds[code] = finding.kind
            kept = self.kept.setdefault(code, [])
            if len(kept) < self.examples:
                kept.append(finding)

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(n for code, n in self.found.items() if self._is_error(code))

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return self.found.total() - self.errors

    def by_weight(self) -> Iterator[tuple[Kind, int, list[Finding]]]:
        """The kinds found with their number and examples: errors first, the most frequent first."""
        order = sorted(self.found, key=lambda c: (not self._is_error(c), -self.found[c], c))
        for code in order:
            yield self.kinds[code], self.found[code], self.kept[code]

    def _is_error(self, code: str) -> bool:
        return self.kinds[code].severity is Severity.ERROR
