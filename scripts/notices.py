#!/usr/bin/env python3
"""Writes THIRD-PARTY-NOTICES.txt: every library that is in the program, on any target that we release for, with its licence texts.

    notices.py            write it
    notices.py --check    fail if it is not what would be written

Which licences may be in it at all is for deny.toml (scripts/audit.sh); this takes the texts from the packages themselves, as they are.
It needs nothing but cargo, so that it takes a second; cargo-about would have to be compiled for minutes first.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FILE = REPOSITORY / "THIRD-PARTY-NOTICES.txt"
TARGETS = [f"{architecture}-{system}" for architecture in ("x86_64", "aarch64")
           for system in ("unknown-linux-musl", "unknown-linux-gnu", "apple-darwin")]
NAMES = ("license", "licence", "copying", "copyright", "notice", "unlicense")
RULE = "=" * 100


def cargo(*arguments: str) -> str:
    return subprocess.run(["cargo", *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout


def in_the_program() -> set[str]:
    """Names and versions, like `bytes v1.12.1`: what only builds it or tests it is not in it."""
    packages: set[str] = set()
    for target in TARGETS:
        tree = cargo("tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target, "--prefix", "none", "--format", "{p}")
        packages |= {" ".join(line.split()[:2]) for line in tree.splitlines() if line}
    return packages


def texts(folder: Path) -> list[str]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name.lower().startswith(NAMES))
    return ["\n".join(line.rstrip() for line in file.read_text(errors="replace").strip().splitlines()) for file in files]


def main() -> None:
    wanted = in_the_program()
    packages = json.loads(cargo("metadata", "--locked", "--format-version", "1"))["packages"]
    ours = {package["id"] for package in packages if package["source"] is None}
    listed, users = [], defaultdict(list)
    for package in sorted(packages, key=lambda package: (package["name"], package["version"])):
        name = f"{package['name']} v{package['version']}"
        if name not in wanted or package["id"] in ours:
            continue
        licence = package["license"] or f"see {package['license_file']}"
        found = texts(Path(package["manifest_path"]).parent)
        where = "" if found else ", whose package holds no text of it"
        listed.append(f"{name}: {licence}{where}\n    by {', '.join(package['authors']) or 'its authors'}, {package['repository'] or 'crates.io'}")
        for text in found:
            users[text].append(name)
    parts = ["meta-migration holds these libraries, each under its own licence (scripts/notices.py makes this file):\n", "\n".join(listed)]
    parts += [f"{RULE}\n{', '.join(names)}\n{RULE}\n\n{text}" for text, names in users.items()]
    written = "\n\n".join(parts) + "\n"
    if "--check" not in sys.argv[1:]:
        FILE.write_text(written)
        print(f"notices: {FILE.name} names {len(listed)} libraries, with {len(users)} texts")
    elif not FILE.exists() or FILE.read_text() != written:
        sys.exit(f"notices: {FILE.name} is not what the dependencies ask for: run scripts/notices.py")


if __name__ == "__main__":
    main()
