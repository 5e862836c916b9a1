"""Checks deploy/manifests and deploy/operator without a cluster: against the schemas of Kubernetes, and for least rights.

    check_manifests.py [KUBERNETES VERSION]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
# A release that clusters of these days run.
VERSION = "1.29"
# The fields of a MilvusUpgrade's spec, milvus.io/v1beta1, with their types; * marks those that must be there.
UPGRADE = {
    "*milvus": dict,
    "*sourceVersion": str,
    "*targetVersion": str,
    "operation": str,
    "targetImage": str,
    "toolImage": str,
    "maxRetry": int,
    "rollbackIfFailed": bool,
    "backupPVC": str,
}


def objects() -> Iterator[tuple[Path, dict[str, Any]]]:
    """All objects, each with its file."""
    for folder in ("manifests", "operator"):
        for file in sorted((DEPLOY / folder).glob("*.yaml")):
            if file.name != "kustomization.yaml":
                for found in yaml.safe_load_all(file.read_text()):
                    yield file, found


def upgrade_problems(spec: dict[str, Any]) -> Iterator[str]:
    """What the operator's CRD would refuse."""
    known = {name.lstrip("*"): kind for name, kind in UPGRADE.items()}
    for name in (name[1:] for name in UPGRADE if name.startswith("*")):
        if name not in spec:
            yield f"spec.{name} is missing"
    for name, value in spec.items():
        if name not in known:
            yield f"spec.{name} is not known"
        elif not isinstance(value, known[name]):
            yield f"spec.{name} is {value!r}, not {known[name].__name__}"
    if spec.get("operation", "upgrade") not in ("upgrade", "rollback"):
        yield "spec.operation is neither upgrade nor rollback"


def job_problems(job: dict[str, Any]) -> Iterator[str]:
    """What the Pod Security Standard `restricted` would refuse, and what an unattended Job must have."""
    pod = job["spec"]["template"]["spec"]
    security = pod["securityContext"]
    if not (security.get("runAsNonRoot") and security.get("runAsUser") and security.get("fsGroup")):
        yield "runAsNonRoot, runAsUser and fsGroup must be set"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "seccompProfile must be RuntimeDefault"
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken must be false"
    if pod.get("restartPolicy") != "Never" or job["spec"].get("backoffLimit") != 0:
        yield "a failed Job must stay as it is: restartPolicy Never, backoffLimit 0"
    for container in pod["containers"]:
        rights = container["securityContext"]
        if rights.get("allowPrivilegeEscalation") is not False or not rights.get("readOnlyRootFilesystem"):
            yield "allowPrivilegeEscalation must be false, readOnlyRootFilesystem true"
        if rights.get("capabilities") != {"drop": ["ALL"]}:
            yield "all capabilities must be dropped"
        volumes = {volume["name"] for volume in pod["volumes"]}
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                yield f"there is no volume {mount['name']}"


def problems(found: dict[str, Any], version: str) -> Iterator[str]:
    """Everything that is wrong with an object."""
    if found["kind"] == "MilvusUpgrade":
        if found["apiVersion"] != "milvus.io/v1beta1":
            yield f"apiVersion is {found['apiVersion']}"
        yield from upgrade_problems(found["spec"])
        return
    try:
        kubernetes_validate.validate(found, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
        return
    if found["kind"] == "Job":
        yield from job_problems(found)
    if found["kind"] == "CronJob":
        yield from job_problems(found["spec"]["jobTemplate"])


def main() -> int:
    version = sys.argv[1] if len(sys.argv) > 1 else VERSION
    wrong = count = 0
    for file, found in objects():
        count += 1
        for problem in problems(found, version):
            wrong += 1
            print(f"{file.relative_to(DEPLOY.parent)}: {found['kind']} {found['metadata']['name']}: {problem}")
    print(f"{count} objects checked against Kubernetes {version}, problems: {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
