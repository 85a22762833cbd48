"""What the coordinator sees of a run under each protection: the one table of these facts.

Reports, docs/threat-model.md (a test compares), and the readers of recorded runs in `attacks/` take
their statements from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Reads(StrEnum):
    """What the coordinator can read of the updates of a round."""

    EACH = "each"
    """Every hospital's update, and with them its counts, the sum and the model."""
    SUM = "sum"
    """The sum over the survivors, the sums of their counts, and the model."""
    NOTHING = "nothing"
    """Neither an update nor a sum, and of the model only its start."""


class Seen(StrEnum):
    YES = "yes"
    SUM = "sum"
    """Only added up over the hospitals of a round."""
    NO = "no"


class Fact(StrEnum):
    """What a table of what the coordinator sees is about."""

    IMAGES = "images, file names, patients"
    PRIVATE = "private layers"
    UPDATE = "one hospital's update"
    TOTAL = "the sum of the updates"
    MODEL = "the shared model"
    COUNTS = "numbers of images, test results as counts"
    SCORE = "a hospital's own test accuracy and clip count"
    PRESENCE = "who took part, when, and for how long each trained"


@dataclass(frozen=True)
class Row:
    """One statement: `fact` is seen, or not, or as a sum; `how` says why or on what condition."""

    fact: Fact
    seen: Seen
    how: str

    @property
    def what(self) -> str:
        return self.fact.value


@dataclass(frozen=True, kw_only=True)
class Sees:
    """What the coordinator sees under one protection.

    `update` ends the statement on one hospital's update; `{helpers}` in it stands for the number of
    hospitals of `helpers`. `counts` says in what the counts travel. `sentence` is for a report.
    """

    reads: Reads
    update: str
    counts: str
    sentence: str

    @property
    def total(self) -> bool:
        """Return True if the coordinator sees the sum of a round, and so the model after it."""
        return self.reads is not Reads.NOTHING

    def rows(self, helpers: str = "2t − n") -> dict[Fact, Row]:
        """Return all statements. `helpers`: how many hospitals, in words, read another's update."""
        each, total = self.reads is Reads.EACH, self.total
        of_the_sum = Seen.YES if total else Seen.NO
        counts = Seen.YES if each else Seen.SUM if total else Seen.NO
        found = [
            Row(Fact.IMAGES, Seen.NO, "they never leave the hospital"),
            Row(Fact.PRIVATE, Seen.NO, "they never leave the hospital"),
            Row(
                Fact.UPDATE,
                Seen.YES if each else Seen.NO,
                self.update.format(helpers=helpers),
            ),
            Row(Fact.TOTAL, of_the_sum, "that is what it computes" if total else "encrypted"),
            Row(Fact.MODEL, of_the_sum, "after every round" if total else "only its start"),
            Row(Fact.COUNTS, counts, self.counts),
            Row(Fact.SCORE, Seen.NO, "unless the hospital's policy shares it"),
            Row(
                Fact.PRESENCE,
                Seen.YES,
                "it has to call the hospitals, and waits on their progress",
            ),
        ]
        return {row.fact: row for row in found}


def markdown(sees: Mapping[str, Sees]) -> str:
    """Return the table of docs/threat-model.md: one column for each protection.

    Where all say the same, the reason stands once, in the first column.
    """
    columns = [found.rows() for found in sees.values()]

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |\n"

    def seen(row: Row) -> str:
        return row.seen if row.seen is Seen.NO else f"**{row.seen}**"

    def cells(fact: Fact) -> list[str]:
        rows = [column[fact] for column in columns]
        if len(set(rows)) == 1:
            return [f"{fact.value} ({rows[0].how})", *map(seen, rows)]
        return [fact.value, *(f"{seen(row)}: {row.how}" for row in rows)]

    head = line(["", *sees]) + line(["---"] * (1 + len(sees)))
    return head + "".join(line(cells(fact)) for fact in Fact)


def helpers(cohort: int, threshold: int, min_cohort: int = 1) -> int:
    """Return how few hospitals, helping the coordinator, read another one's masked update.

    Either they let two survivor sets be signed (2t − n), or they are all but one of the smallest
    set that is signed (Bonawitz et al. 2017, section 6.2).
    """
    return min(2 * threshold - cohort, max(threshold, min_cohort) - 1)
