"""What is proposed for a dataset."""

from __future__ import annotations

from dataclasses import dataclass, field

from caudal.warehouse.propose.columns import ProposedColumn
from caudal.warehouse.propose.names import FilePath
from caudal.warehouse.propose.sniff import Sniffed
from caudal.warehouse.verdict import Verdict

#: Reasons and rejected rows that are told one by one.
_SHOWN = 3


@dataclass
class Proposal:
    """What is proposed for a dataset.

    Attributes:
        notes: what is to be said at the top.
        source_note: what is to be said beside the source.
        verdict: what became of the sample under it.

    """

    source: str
    name: str
    sniffed: Sniffed
    path: FilePath
    columns: list[ProposedColumn]
    varying: bool = False
    notes: list[str] = field(default_factory=list)
    source_note: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    verdict: Verdict | None = None
    files: int = 0

    @property
    def fits(self) -> bool:
        return self.verdict is not None and self.verdict.exit_code == 0

    def outcome(self) -> str:
        """Such as `12,431 rows of 2 files: all fit`."""
        verdict = self.verdict
        assert verdict is not None
        counted = f"{verdict.read:,} row{'s' * (verdict.read != 1)} of {self.files:,} file{'s' * (self.files != 1)}"
        if self.fits:
            return f"{counted}: all fit"
        pieces = [f"{verdict.loaded:,} fit, {verdict.rejected:,} would be rejected"] if verdict.rejected else []
        pieces += [reason for _, reason in verdict.unreadable[:_SHOWN]]
        if (more := len(verdict.unreadable) - _SHOWN) > 0:
            pieces.append(f"and {more:,} more cannot be read")
        pieces += [verdict.misplaced] if verdict.misplaced else []
        first = [f"row {r.row}{f', {r.column}' if r.column else ''}: {r.reason}" for r in verdict.rejects[:_SHOWN]]
        return f"{counted}: " + "; ".join([*pieces, *first])
