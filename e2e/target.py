"""A newer Milvus on migrated metadata, and what our scripts find out from it."""

import json
from pathlib import Path
from typing import Any, Self

from servers import ServerDied, run_client
from topology import Server
from versions import Version

MOST_RESTARTS = 1


def say(text: str) -> None:
    print(f"e2e: {text}", flush=True)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


class Target:
    """2.2 sometimes panics at its first start: then it is started again, once."""

    def __init__(self, version: Version, site: Path, settings: dict[str, str] | None = None):
        self.version = version
        self.site = site
        self.settings = settings
        self.panics: list[str] = []
        self.milvus = self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.milvus.stop()

    def start(self) -> Any:
        while True:
            try:
                return Server(self.version.text, self.site, self.settings)
            except ServerDied as error:
                self.note(error)

    def note(self, error: ServerDied) -> None:
        say(str(error))
        self.panics.append(str(error))
        if len(self.panics) > MOST_RESTARTS:
            raise error

    def observe(self, when: str) -> dict[str, Any]:
        """What it says, once everything is loaded."""
        file = self.site / f"observed-{self.version.text}-{when}.json"
        counts = ["counts"] if self.version.counts else []
        while True:
            try:
                run_client(self.milvus, "observe.py", str(file), "renamed", *counts)
                return read(file)
            except ServerDied as error:
                self.note(error)
                # Of a cluster one component has ended, and the others have not.
                self.milvus.stop()
                self.milvus = self.start()

    def use(self, script: str, what: str, when: str = "") -> dict[str, str]:
        """Each step of a script with `ok`, or what is wrong."""
        steps = {}
        for line in run_client(self.milvus, script, what).splitlines():
            state, _, rest = line.partition(" ")
            if state == "ok":
                steps[f"{when}{rest.rpartition(' [')[0]}"] = "ok"
            elif state == "FAILED":
                name, _, why = rest.partition(": ")
                steps[f"{when}{name}"] = why
                say(line)
        return steps
