"""The real Milvus Operator, from the manifest of one of its releases."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from scene import Object

NAME = "milvus-operator"


def kubectl(*arguments: str, text: str | None = None, check: bool = True) -> str:
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, timeout=600)
    assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


class Operator:
    """What its manifest says. Releases before 1.1.4 have webhooks; the certificate that cert-manager would make comes from here."""

    def __init__(self, manifest: Path) -> None:
        self.items = [item for item in parsed(kubectl("create", "--dry-run=client", "--output=json", "-f", str(manifest))) if item["kind"] != "Job"]
        [pod] = [item["spec"]["template"]["spec"] for item in self.items if item["kind"] == "Deployment"]
        self.version = pod["containers"][0]["image"].rpartition(":")[2]
        if any(volume["name"] == "cert" for volume in pod.get("volumes", [])):
            self.certify()

    def certify(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = Path(folder, "key"), Path(folder, "certificate")
            command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
            command += ["-addext", f"subjectAltName=DNS:{NAME}-webhook-service.{NAME}.svc", "-keyout", str(key), "-out", str(certificate)]
            subprocess.run(command, check=True, capture_output=True)
            data = {name: base64.b64encode(path.read_bytes()).decode() for name, path in (("tls.key", key), ("tls.crt", certificate))}
        for item in self.items:
            for hook in [*item.get("webhooks", []), item.get("spec", {}).get("conversion", {}).get("webhook", {})]:
                if "clientConfig" in hook:
                    hook["clientConfig"]["caBundle"] = data["tls.crt"]
        meta = {"name": f"{NAME}-webhook-cert", "namespace": NAME}
        # After the namespace.
        self.items.insert(1, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/tls", "data": data})

    def __enter__(self) -> Operator:
        # Its definitions are too large for the annotation of a plain `apply`.
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=self.text())
        kubectl("--namespace", NAME, "rollout", "status", f"deployment/{NAME}", "--timeout=300s")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # What it has to let go first, while it is there to do so.
        kubectl("delete", "milvusupgrades,milvuses", "--all", "--all-namespaces", "--timeout=180s", check=False)
        kubectl("delete", "--ignore-not-found", "--timeout=180s", "-f", "-", text=self.text(), check=False)

    def text(self) -> str:
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": self.items})

    def log(self) -> str:
        return kubectl("--namespace", NAME, "logs", f"deployment/{NAME}", "--tail=-1")


def parsed(text: str) -> list[Object]:
    """kubectl prints one object after the other, without anything between them."""
    items: list[Object] = []
    decoder = json.JSONDecoder()
    text = text.strip()
    while text:
        item, end = decoder.raw_decode(text)
        items += item["items"] if item["kind"] == "List" else [item]
        text = text[end:].strip()
    return items
