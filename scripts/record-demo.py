#!/usr/bin/env python3
"""Records the main job on the sample: docs/demo.cast (asciicast 2, for `asciinema play`) and docs/demo.svg (for the README).

    record-demo.py [PROGRAM]      target/release/meta-migration by default

Needs etcd and etcdctl. The program runs in a terminal of its own, so what is recorded is what a person sees.
"""

import fcntl
import html
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE = REPOSITORY / "testdata/milvus-2.1.0/etcd-21.snap"
COLUMNS, ROWS = 110, 22
STEPS = ("status", "plan", "backup", "run --yes", "verify --backup sample.bak", "rollback --yes")
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9])")
LONGEST_PAUSE = 1.0
"""Seconds: nobody wants to look at somebody waiting."""
SECONDS_A_FRAME = 5


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start_etcd(work: Path, port: int) -> subprocess.Popen:
    subprocess.run(["etcdctl", "snapshot", "restore", SAMPLE, "--data-dir", work / "etcd"], check=True, capture_output=True,
                   env=os.environ | {"ETCDCTL_API": "3"})
    address = f"http://127.0.0.1:{port}"
    etcd = subprocess.Popen(["etcd", "--data-dir", work / "etcd", "--listen-client-urls", address, "--advertise-client-urls", address,
                             "--listen-peer-urls", f"http://127.0.0.1:{free_port()}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return etcd
        time.sleep(0.1)
    etcd.kill()
    raise SystemExit("record-demo: etcd did not start")


def play(program: Path, step: str, work: Path, environment: dict[str, str]) -> list[tuple[float, str]]:
    """What a step writes to its terminal, with the seconds since its start."""
    began = time.monotonic()
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(work)
        os.execve(program, ["meta-migration", *step.split()], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    said = []
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        said.append((time.monotonic() - began, part.decode(errors="replace")))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    if code != 0:
        raise SystemExit(f"record-demo: meta-migration {step} ended with {code}:\n{''.join(text for _, text in said)}")
    return said


def cast(steps: list[tuple[str, list[tuple[float, str]]]]) -> str:
    lines = [json.dumps({"version": 2, "width": COLUMNS, "height": ROWS, "title": "meta-migration on the sample of a Milvus 2.1.0"})]
    now = 0.0
    for step, said in steps:
        lines.append(json.dumps([round(now, 2), "o", f"$ meta-migration {step}\r\n"]))
        last = 0.0
        for at, text in said:
            now += min(at - last, LONGEST_PAUSE)
            last = at
            lines.append(json.dumps([round(now, 2), "o", text], ensure_ascii=False))
        now += 2.5
    return "\n".join(lines) + "\n"


def shown(said: list[tuple[float, str]]) -> list[str]:
    """The lines that are left standing on the screen: those of a progress bar are overwritten."""
    lines = []
    for line in ESCAPES.sub("", "".join(text for _, text in said)).replace("\r\n", "\n").split("\n"):
        line = line.rsplit("\r", 1)[-1].rstrip()
        lines += [line[:COLUMNS - 1] + "…" if len(line) > COLUMNS else line]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def frame(step: str, said: list[tuple[float, str]]) -> list[str]:
    lines = shown(said)
    if len(lines) > ROWS - 1:
        half = (ROWS - 2) // 2
        lines = [*lines[:half], "  …", *lines[-half:]]
    return [f"$ meta-migration {step}", *lines]


def svg(frames: list[list[str]]) -> str:
    height, width, line = 20 * (ROWS + 1) + 20, 8 * COLUMNS + 32, 20
    share = 100 / len(frames)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="The main job on the sample, step by step">',
        "<style>"
        ":root{--paper:#f6f8fa;--ink:#1f2328;--call:#0969da}"
        "@media (prefers-color-scheme:dark){:root{--paper:#161b22;--ink:#e6edf3;--call:#58a6ff}}"
        "rect{fill:var(--paper)}text{fill:var(--ink);font:13px ui-monospace,monospace;white-space:pre}.c{fill:var(--call);font-weight:600}"
        f"g{{opacity:0;animation:f {len(frames) * SECONDS_A_FRAME}s step-end infinite}}"
        f"@keyframes f{{0%{{opacity:1}}{share:.3f}%{{opacity:0}}100%{{opacity:0}}}}"
        f"@media (prefers-reduced-motion:reduce){{g{{animation:none}}g:nth-of-type({len(frames) // 2 + 1}){{opacity:1}}}}"
        "</style>",
        f'<rect width="{width}" height="{height}" rx="8"/>',
    ]
    for number, lines in enumerate(frames):
        parts.append(f'<g style="animation-delay:{number * SECONDS_A_FRAME}s">')
        for row, text in enumerate(lines):
            style = ' class="c"' if row == 0 else ""
            parts.append(f'<text{style} x="16" y="{line * (row + 1) + 8}" xml:space="preserve">{html.escape(text, quote=False)}</text>')
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    program = Path(sys.argv[1] if len(sys.argv) > 1 else REPOSITORY / "target/release/meta-migration").resolve()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "ETCD_ENDPOINTS": f"localhost:{port}", "META_MIGRATION_SOURCE_VERSION": "2.1.0",
                       "META_MIGRATION_TARGET_VERSION": "2.2.16", "META_MIGRATION_BACKUP_FILE": "sample.bak"}
        etcd = start_etcd(work, port)
        try:
            steps = [(step, play(program, step, work, environment)) for step in STEPS]
        finally:
            etcd.terminate()
            etcd.wait()
    # As if etcd were where it is by default.
    steps = [(step, [(at, text.replace(f":{port}", ":2379")) for at, text in said]) for step, said in steps]
    (REPOSITORY / "docs/demo.cast").write_text(cast(steps))
    (REPOSITORY / "docs/demo.svg").write_text(svg([frame(*step) for step in steps]))


if __name__ == "__main__":
    main()
