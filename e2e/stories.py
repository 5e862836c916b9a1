"""Collections of a 2.1 cluster whose message log loses its beginning: what was written when, and what must be left of it."""

from case import Case, Step

FIRST = Step("insert", "_default", 0, 1200)
SECOND = Step("insert", "_default", 1200, 1500)
THIRD = Step("insert", "_default", 1500, 1700)
DELETED = {"second": (*range(20), *range(1200, 1210)), "third": (*range(40, 60), *range(1500, 1510))}
"""rows that are deleted after the second and after the third batch: some of the first, some of the latest"""
BATCHES = {"first": FIRST, "second": SECOND, "third": THIRD}


class Story:
    """`flushed`: whether the first batch was. `cut`: before which batch's messages the log begins; in `flush`, between
    the first batch and its flush."""

    def __init__(self, name: str, flushed: bool, cut: str):
        self.case = Case(name, life=((FIRST, SECOND, THIRD),))
        self.flushed = flushed
        self.cut = cut

    @property
    def position_gone(self) -> bool:
        """Where its channel is to be read from, by its flushed segment, the log does not begin yet."""
        return self.flushed and self.cut != "flush"

    def rows(self) -> list[int]:
        """Those that are on disk or in what is left of the log, without what is deleted by what is left of it."""
        left = {"flush": ("second", "third"), "second": ("second", "third"), "third": ("third",)}[self.cut]
        batches = [BATCHES[name] for name in (("first", *left) if self.flushed else left)]
        gone = {row for name in left for row in DELETED[name]}
        return [row for batch in batches for row in range(batch.first, batch.end) if row not in gone]


STORIES = (
    Story("r_position_in_log", True, "flush"),
    Story("r_position_gone", True, "second"),
    Story("r_rows_gone", True, "third"),
    Story("r_never_flushed", False, "second"),
    Story("r_never_flushed_rows_gone", False, "third"),
)
