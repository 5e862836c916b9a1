"""What differs between the versions of Milvus that the end-to-end test runs, as named properties."""

import sys
from dataclasses import dataclass

SOURCE = "2.1.0"


@dataclass(frozen=True)
class Version:
    text: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """Without a `.post1`, which is another build of the same release."""
        return tuple(int(part) for part in self.text.split(".")[:3])

    @property
    def series(self) -> str:
        return ".".join(self.text.split(".")[:2])

    @property
    def client(self) -> str:
        """The pymilvus that talks to it. Servers up to 2.2.8 want the one of their own version."""
        if self.series == "2.1":
            return "2.1.3"
        if self.numbers < (2, 2, 9):
            return ".".join(map(str, self.numbers))
        return {"2.2": "2.2.17", "2.3": "2.3.5"}[self.series]

    @property
    def wants_absolute_paths(self) -> bool:
        """Refuses a local storage whose path is relative."""
        return self.numbers == (2, 2, 8)

    @property
    def counts(self) -> bool:
        """Answers `count(*)`."""
        return self.numbers >= (2, 3, 0)

    @property
    def tripwires(self) -> tuple[str, ...]:
        """Keys that keep 2.1 from starting on what was migrated for it."""
        common = ("root-coord/index/0/0", "indexes/0", "queryCoord-dmChannelWatchInfo/0/0")
        return common if self.numbers < (2, 2, 3) else (*common, "datacoord-meta/statslog/0/0/0/0")

    @property
    def changes_rocksmq(self) -> bool:
        """Writes the message log of a standalone server in a form that 2.1 cannot open."""
        return self.numbers >= (2, 3, 0)

    @property
    def limits_loads(self) -> bool:
        """Refuses to load many files at a time."""
        return self.series == "2.3"

    @property
    def has_index_coordinator(self) -> bool:
        """A coordinator of its own for indexes, with settings of its own."""
        return self.series in ("2.1", "2.2")


def main() -> None:
    """versions.py VERSION: the pymilvus for it."""
    print(Version(sys.argv[1]).client)


if __name__ == "__main__":
    main()
