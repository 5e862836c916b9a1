"""The image as each of its callers starts it, against a real etcd: `python3 -m unittest`, by scripts/test-image.sh."""

from __future__ import annotations

import os
import re
import subprocess
import unittest
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

import scene
from containers import Ended, Image, Mount, Settings, give_to_group, run, started

PLAIN = Image("localhost/meta-migration")
ROOT = Image("localhost/meta-migration:root")
SESSION = "by-dev/meta/session/proxy-3"
BY_SHELL = ["/bin/sh", "-c", "/milvus/bin/meta-migration -config=/milvus/configs/meta/migration.yaml"]
BY_OPERATOR = ["/milvus/bin/meta-migration", "-config", "/milvus/configs/migration.yaml"]
TARGET_KEYS = 705


def configuration(command: str, port: int) -> str:
    """What migrate.sh and the operator hand over; the operator with an `endpoints` key for each of three endpoints."""
    return f"""cmd:
  type: {command}
config:
  sourceVersion: 2.1.0
  targetVersion: 2.2.16
  backupFilePath: /milvus/data/migration.bak
metastore:
  type: etcd
etcd:
  endpoints:
    - etcd:{port}
  endpoints:
    - localhost:{port}
  endpoints:
    - 127.0.0.1:{port}
  rootPath: by-dev
  metaSubPath: meta
  kvSubPath: kv
"""


class OnEtcd(unittest.TestCase):
    """With an etcd that has the metadata of Milvus 2.1.0, and a new volume."""

    def setUp(self) -> None:
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.folder = stack.enter_context(scene.scratch_folder())
        self.data = scene.sample_data(self.folder)
        self.etcd = stack.enter_context(scene.etcd_on(self.data))
        self.before = self.etcd.metadata()
        self.volume = scene.root_volume(self.folder)

    def config_map(self, command: str) -> Path:
        return scene.config_map(self.folder, {"migration.yaml": configuration(command, self.etcd.port)})

    def by_migrate_sh(self, command: str, settings: Settings, image: Image = PLAIN) -> Ended:
        mounts = [Mount(self.config_map(command), "/milvus/configs/meta", True), Mount(self.volume, "/milvus/data")]
        return run(image, replace(settings, command=BY_SHELL, mounts=mounts))

    def by_operator(self, command: str, image: Image = ROOT, settings: Settings = Settings()) -> Ended:
        """One file of the ConfigMap is mounted, not the folder; the pod says nothing of users and rights."""
        file = self.config_map(command).resolve() / "..data/migration.yaml"
        mounts = [Mount(file.resolve(), "/milvus/configs/migration.yaml", True), Mount(self.volume, "/milvus/data")]
        return run(image, replace(settings, command=BY_OPERATOR, mounts=mounts))

    def assert_code(self, ended: Ended, code: int, *texts: str) -> None:
        self.assertEqual(ended.code, code, ended.log)
        for text in texts:
            self.assertIn(text, ended.log)

    def check_all(self, call: Any) -> None:
        """Backup, run and rollback, and what they leave behind."""
        self.assert_code(call("backup"), 0)
        backup = self.volume / "migration.bak"
        self.assertEqual(backup.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.etcd.metadata(), self.before)
        self.assert_code(call("run"), 0)
        self.assertEqual(self.etcd.keys(), TARGET_KEYS)
        self.assert_code(call("rollback"), 0)
        self.assertEqual(self.etcd.metadata(), self.before)
        self.assertEqual([path.name for path in self.volume.iterdir()], ["migration.bak"])


class Callers(OnEtcd):
    def test_migrate_sh_with_least_rights(self) -> None:
        """Another user than the image's, the volume given to a group, the root read-only, no capability."""
        give_to_group(self.volume, 1000)
        least = Settings(user=(1000, 1000), groups=[1000], read_only_root=True, without_rights=True)
        self.check_all(lambda command: self.by_migrate_sh(command, least))

    def test_migrate_sh_with_the_user_of_the_image(self) -> None:
        give_to_group(self.volume, 2000)
        least = Settings(groups=[2000], read_only_root=True, without_rights=True)
        self.check_all(lambda command: self.by_migrate_sh(command, least))
        self.assertEqual((self.volume / "migration.bak").stat().st_uid, 65532)

    def test_openshift(self) -> None:
        """A user that no file knows, in group 0."""
        give_to_group(self.volume, 1000650000)
        least = Settings(user=(1000650000, 0), groups=[1000650000], read_only_root=True, without_rights=True)
        self.check_all(lambda command: self.by_migrate_sh(command, least))

    def test_operator(self) -> None:
        self.check_all(self.by_operator)

    def test_operator_with_the_plain_image_is_told_what_is_wrong(self) -> None:
        """Its new volume belongs to root, and no group is given."""
        self.assert_code(self.by_operator("backup", PLAIN), 1, "/milvus/data/migration.bak", "ermission denied")
        self.assertEqual(self.etcd.metadata(), self.before)
        self.volume.chmod(0o777)
        self.check_all(lambda command: self.by_operator(command, PLAIN))

    def test_a_live_component_is_exit_1(self) -> None:
        self.etcd.ctl("put", SESSION, "{}")
        for command in ("backup", "run", "rollback"):
            self.assert_code(self.by_operator(command), 1)
        self.assertEqual(list(self.volume.iterdir()), [])

    def test_a_folder_in_place_of_the_file_is_exit_1(self) -> None:
        """What `docker run -v` makes of a file that is not there."""
        settings = Settings(command=BY_OPERATOR, mounts=[Mount(self.folder, "/milvus/configs/migration.yaml", True)])
        self.assert_code(run(PLAIN, settings), 1, "/milvus/configs/migration.yaml", "is a directory")

    def test_sigterm_reaches_the_tool_through_the_shell(self) -> None:
        """A pod that is deleted ends at once and in order, and not by SIGKILL after its time of grace."""
        lease = self.etcd.ctl("lease", "grant", "3600").split()[1]
        self.etcd.ctl("put", SESSION, "{}", f"--lease={lease}")
        command = [*BY_SHELL[:2], f"{BY_SHELL[2]} --wait-for-sessions=1h"]
        mounts = [Mount(self.config_map("run"), "/milvus/configs/meta", True), Mount(self.volume, "/milvus/data")]
        with started(PLAIN, Settings(command=command, mounts=mounts)) as container:
            while "waiting for sessions" not in container.log():
                self.assertTrue(container.is_running(), container.log())
            container.terminate()
            ended = container.wait()
        self.assert_code(ended, 1, "stopped by a signal")


class Manifests(OnEtcd):
    """deploy/manifests: the Jobs as they are, with the ConfigMap as it is but for etcd's port."""

    def job(self, name: str) -> Ended:
        """Does what Kubernetes would do with the Job."""
        manifests = scene.REPOSITORY / "deploy/manifests"
        [config] = yaml.safe_load_all((manifests / "configmap.yaml").read_text())
        text = config["data"]["migration.yaml"].replace("etcd:2379", f"etcd:{self.etcd.port}")
        [job] = yaml.safe_load_all((manifests / f"{name}.yaml").read_text())
        pod = job["spec"]["template"]["spec"]
        [container] = pod["containers"]
        group = pod["securityContext"]["fsGroup"]
        give_to_group(self.volume, group)
        sources = {"config": scene.config_map(self.folder, {"migration.yaml": text}), "backup": self.volume}
        mounts = [
            Mount(sources[mount["name"]], mount["mountPath"], mount.get("readOnly", False))
            for mount in container["volumeMounts"]
            if mount["name"] != "secrets"  # optional, and not there
        ]
        settings = Settings(
            command=[*container["command"], *container["args"]],
            user=(pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]),
            groups=[group],
            mounts=mounts,
            read_only_root=container["securityContext"]["readOnlyRootFilesystem"],
            without_rights=container["securityContext"]["capabilities"]["drop"] == ["ALL"],
        )
        return run(PLAIN, settings)

    def test_all_jobs(self) -> None:
        self.assert_code(self.job("plan"), 0)
        self.assert_code(self.job("backup"), 0)
        self.assertEqual(self.etcd.metadata(), self.before)
        self.assert_code(self.job("run"), 0)
        self.assert_code(self.job("run"), 0, "nothing to do")
        self.assert_code(self.job("verify"), 0)
        self.assertEqual(self.etcd.keys(), TARGET_KEYS)
        self.assert_code(self.job("rollback"), 0)
        self.assertEqual(self.etcd.metadata(), self.before)
        self.assert_code(self.job("verify"), 1)
        self.assert_code(self.job("upgrade"), 0)
        self.assertEqual(self.etcd.keys(), TARGET_KEYS)
        self.assert_code(self.job("rollback"), 0)
        self.assertEqual(self.etcd.metadata(), self.before)


class Compose(unittest.TestCase):
    """deploy/compose: the services as they are."""

    def setUp(self) -> None:
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.folder = stack.enter_context(scene.scratch_folder())
        files = scene.REPOSITORY / "deploy/compose"
        self.tool = yaml.safe_load((files / "meta-migration.yml").read_text())["services"]["meta-migration"]
        self.etcd = yaml.safe_load((files / "embedded.yml").read_text())["services"]["etcd"]
        self.configuration = (files / "migration.yaml").read_text()
        self.volume = self.folder / "volume"
        self._new_volume()

    def _new_volume(self) -> None:
        """Docker gives a new volume the owner and mode of what it hides in the image."""
        self.volume.mkdir()
        with PLAIN.root() as root:
            hidden = (root / "milvus/data").stat()
        os.chown(self.volume, hidden.st_uid, hidden.st_gid)
        self.volume.chmod(hidden.st_mode & 0o7777)

    def compose_run(self, port: int, *arguments: str) -> Ended:
        """docker compose run --rm meta-migration ARGUMENTS"""
        file = self.folder / "migration.yaml"
        file.write_text(self.configuration.replace("etcd:2379", f"etcd:{port}"))
        sources = {"./migration.yaml": file, "meta-migration": self.volume}
        mounts = []
        for volume in self.tool["volumes"]:
            source, target, *mode = volume.split(":")
            mounts.append(Mount(sources[source], target, mode == ["ro"]))
        settings = Settings(
            command=[*self.tool["entrypoint"], *(arguments or self.tool["command"])],
            mounts=mounts,
            read_only_root=self.tool["read_only"],
            without_rights=self.tool["cap_drop"] == ["ALL"],
        )
        return run(PLAIN, settings)

    @contextmanager
    def plain_etcd(self, data: Path) -> Iterator[scene.Etcd]:
        """The service etcd of embedded.yml, on a free port."""
        program, *arguments = self.etcd["command"]
        self.assertEqual(program, "etcd")
        self.assertTrue(any(volume.endswith(":/etcd") for volume in self.etcd["volumes"]))
        here = [re.sub(r"://[^:]*:\d+", "://127.0.0.1:0", argument) for argument in arguments]
        with scene.etcd_on(data, [argument.replace("=/etcd", f"={data}") for argument in here]) as etcd:
            yield etcd

    def test_an_embedded_etcd(self) -> None:
        """Its data directory is used by a plain etcd meanwhile, and by the embedded one before and afterwards."""
        data = scene.sample_data(self.folder)
        with scene.etcd_on(data) as embedded:
            embedded.ctl("put", "by-dev/meta/queryCoord-later", "written by the embedded etcd")
            before = embedded.metadata()
        with self.plain_etcd(data) as etcd:
            for arguments in (("status",), ("plan",), ("backup", "--wait-for-sessions=90s"), ("run", "--yes")):
                ended = self.compose_run(etcd.port, *arguments)
                self.assertEqual(ended.code, 0, ended.log)
            ended = self.compose_run(etcd.port, "verify", "--backup=/milvus/data/migration.bak")
            self.assertEqual(ended.code, 0, ended.log)
            migrated = etcd.metadata()
        with scene.etcd_on(data) as embedded:
            self.assertEqual((embedded.keys(), embedded.metadata()), (TARGET_KEYS + 1, migrated))
        with self.plain_etcd(data) as etcd:
            ended = self.compose_run(etcd.port, "rollback")
            self.assertEqual(ended.code, 0, ended.log)
        with scene.etcd_on(data) as embedded:
            self.assertEqual(embedded.metadata(), before)


class Contents(unittest.TestCase):
    def say(self, *command: str, image: Image = PLAIN) -> str:
        ended = run(image, Settings(command=command, read_only_root=True, without_rights=True))
        self.assertEqual(ended.code, 0, ended.log)
        return ended.log

    def test_what_it_starts_by_itself(self) -> None:
        self.assertEqual((PLAIN.user, ROOT.user), ((65532, 65532), (0, 0)))
        for image in (PLAIN, ROOT):
            self.assertEqual(image.config["WorkingDir"], "/milvus")
            # docker run IMAGE /milvus/bin/meta-migration -config=… must not become its arguments.
            self.assertNotIn("Entrypoint", image.config)
            ended = run(image, Settings())
            self.assertEqual(ended.code, 0, ended.log)
            self.assertIn("Usage", ended.log)

    def test_the_program_is_in_its_place_and_on_the_path(self) -> None:
        self.assertEqual(self.say("/bin/sh", "-c", "command -v meta-migration"), "/milvus/bin/meta-migration\n")
        self.assertEqual(self.say("/bin/sh", "-c", "pwd; id -u"), "/milvus\n65532\n")

    def test_labels(self) -> None:
        labels = {name.rpartition(".")[2]: value for name, value in PLAIN.config["Labels"].items()}
        version = self.say("meta-migration", "--version").split()[1]
        self.assertEqual((labels["title"], labels["version"]), ("meta-migration", version))
        self.assertRegex(labels["revision"], "^[0-9a-f]{40}$")

    def test_certificates_and_packages(self) -> None:
        certificates = self.say("cat", "/etc/ssl/certs/ca-certificates.crt")
        self.assertGreater(certificates.count("BEGIN CERTIFICATE"), 100)
        self.assertIn("Package: libc6\n", self.say("cat", "/var/lib/dpkg/status.d/libc6"))

    def test_the_program_carries_its_dependencies(self) -> None:
        with PLAIN.root() as root:
            program = root / "milvus/bin/meta-migration"
            sections = subprocess.run(["readelf", "-SW", program], check=True, capture_output=True, text=True).stdout
            size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        self.assertIn(".dep-v0", sections)
        self.assertLess(size, 30e6)


if __name__ == "__main__":
    unittest.main()
