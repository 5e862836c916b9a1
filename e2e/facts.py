"""facts.py OBSERVED FACTS: of what 2.1.0 said of the data that it made (observe.py) those parts that are in its metadata,
for testdata/milvus-2.1.0-lived. Answers to searches and queries are left out."""

import json
import sys
from pathlib import Path
from typing import Any


def facts_of(observed: dict[str, Any]) -> dict[str, Any]:
    described = observed["describe"]
    return {
        "id": described["id"],
        "channels": described["channels"],
        "aliases": described["aliases"],
        "fields": {field["name"]: field["id"] for field in described["fields"]},
        "partitions": {name: part["id"] for name, part in observed["partitions"].items()},
        "indexes": observed["indexes"],
        "loaded": observed["loaded"] == 100,
        "loaded_partitions": sorted(observed["loaded_partitions"]),
    }


def main() -> None:
    observed = json.loads(Path(sys.argv[1]).read_text())
    facts = {name: facts_of(collection) for name, collection in observed["collections"].items()}
    lines = (f" {json.dumps(name)}: {json.dumps(fact, ensure_ascii=False)}" for name, fact in facts.items())
    Path(sys.argv[2]).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
