"""Runs meta-migration."""

import os
import subprocess
from pathlib import Path

from versions import SOURCE

ROOT = Path(__file__).resolve().parent.parent
ENDPOINTS = ("127.0.0.1:2379",)

CONFIG = """\
config:
  sourceVersion: {source}
  targetVersion: {target}
  backupFilePath: {site}/migration.bak
etcd:
  endpoints: [{endpoints}]
  rootPath: by-dev
  metaSubPath: meta
"""


class ToolError(Exception):
    pass


def binary() -> str:
    return os.environ.get("META_MIGRATION_BIN") or str(ROOT / "target/release/meta-migration")


def command_line(
    site: Path, target: str, command: str, *arguments: str, endpoints: tuple[str, ...] = ENDPOINTS
) -> list[str]:
    config = site / "migration.yaml"
    config.write_text(CONFIG.format(source=SOURCE, target=target, site=site, endpoints=", ".join(endpoints)))
    # A Milvus that has just ended leaves sessions behind until their leases run out.
    wait = ["--wait-for-sessions", "120s"] if command in ("backup", "run", "rollback") else []
    return [binary(), command, "--config", str(config), *wait, *arguments]


def ask(site: Path, target: str, command: str, *arguments: str) -> tuple[int, str, str]:
    """Runs one command against the etcd that listens here: exit code, standard output, standard error."""
    line = command_line(site, target, command, *arguments)
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def meta_migration(site: Path, target: str, command: str, *arguments: str) -> str:
    """As `ask`; its output, or an error with its output."""
    code, out, err = ask(site, target, command, *arguments)
    if code != 0:
        raise ToolError(f"meta-migration {command}: exit code {code}\n{out}{err}")
    return out + err
