"""Milvus in other shapes: names, kinds, containers, Secrets, etcd elsewhere; and what is refused."""

from __future__ import annotations

import base64
import shutil
import subprocess
import unittest
from pathlib import Path

from cluster import NAMESPACE
from harness import NEW_IMAGE, OLD_IMAGE, SCRIPT, Case, not_milvus, workload


class Standalone(Case):
    """A StatefulSet, alone; its container is not named after its component, and a sidecar is with it."""

    def install_milvus(self) -> None:
        item = workload("s", "standalone", 1, main=OLD_IMAGE, side_car="istio/proxyv2:1.17")
        self.cluster.add("StatefulSet", "my-release-milvus-standalone", **item)

    def test_migrate_and_back(self) -> None:
        self.script()
        self.assert_migrated()
        self.assertEqual(self.record()["replicas"], "statefulset/my-release-milvus-standalone:1")
        self.rollback()
        self.assert_restored()


class Odd(Case):
    """Names and images that want quoting or guessing."""

    instance = "rel.1-x"

    def install_milvus(self) -> None:
        images = {"proxy": "registry.example:5000/mirror/milvus@sha256:0123", "node": "milvusdb/milvus:v2.1.0-gpu"}
        items = {
            # Not named after its component, which nobody knows; the image tells.
            "rel.1-x.proxy": workload("p", "front", 2, engine=images["proxy"], log_shipper="fluent/fluent-bit:2"),
            # Without a component.
            "rel.1-x.node": workload("n", None, 1, any=images["node"]),
            # Its own image with a name of its own, told by the component.
            "rel.1-x.coord": workload("c", "mixcoord", 1, mixcoord="example/our-vectors:7"),
            # At 0 before, and to stay so.
            "rel.1-x.index": workload("i", "indexnode", 0, indexnode=OLD_IMAGE),
            # The same labels, but not Milvus.
            "rel.1-x.pulsar": not_milvus(workload("q", "pulsar", 1, pulsar="apachepulsar/pulsar:2.8")),
            "rel.1-x.insight": not_milvus(workload("g", "insight", 1, insight="milvusdb/milvus-insight:v1")),
        }
        for name, item in items.items():
            item["metadata"]["labels"]["app.kubernetes.io/instance"] = self.instance
            self.cluster.add("Deployment", name, **item)
        pod = {"imagePullSecrets": [{"name": "milvus-regcred"}], "tolerations": [{"key": "for", "value": "milvus"}]}
        pod["nodeSelector"] = {"disk": "ssd"}
        for name in items:
            self.cluster.store.patch("deployments", NAMESPACE, name, {"spec": {"template": {"spec": pod}}})

    def assert_others_untouched(self) -> None:
        for name in ("rel.1-x.pulsar", "rel.1-x.insight"):
            item = self.cluster.store.get("deployments", NAMESPACE, name)
            self.assertEqual(item["metadata"]["generation"], 2, name)

    def assert_starts_were_right(self) -> None:
        new = [start.images == {"new/milvus@sha256:9", "fluent/fluent-bit:2"} for start in self.cluster.starts]
        self.assertEqual(len(new), len(self.cluster.starts))

    def test_migrate_and_back(self) -> None:
        result = self.script("-w", "new/milvus@sha256:9", "-x", "--rename-collection c_$pecial__name$=plain --rebuild-index=ANNOY")
        self.assertIn("c_$pecial__name$ becomes plain", result.text)
        images = {name: images for name, (_, images) in self.workloads().items()}
        self.assertEqual(images["rel.1-x.proxy"], ("engine=new/milvus@sha256:9", "log-shipper=fluent/fluent-bit:2"))
        self.assertEqual(images["rel.1-x.node"], ("any=new/milvus@sha256:9",))
        self.assertEqual(images["rel.1-x.coord"], ("mixcoord=new/milvus@sha256:9",))
        replicas = {name: replicas for name, (replicas, _) in self.workloads().items()}
        self.assertEqual(replicas, {name: replicas for name, (replicas, _) in self.before.items()})
        run = self.cluster.store.get("pods", NAMESPACE, "milvus-meta-migration-rel.1-x-upgrade")["spec"]
        self.assertEqual(run["imagePullSecrets"], [{"name": "milvus-regcred"}])
        self.assertEqual(run["tolerations"], [{"key": "for", "value": "milvus"}])
        self.assertEqual(run["nodeSelector"], {"disk": "ssd"})
        # -w is still the new image: what was recorded counts.
        self.rollback("-w", "new/milvus@sha256:9")
        self.assert_restored()

    def test_what_is_odd_reaches_the_tool_as_it_is(self) -> None:
        root = """it's "by dev" \\ä $(touch pwned) `touch pwned` $$ & #1"""
        result = self.script("-r", root, "-p", "one,two", "-w", "new/milvus:v2.2.16", code=1)
        self.assertIn("etcd.rootPath: \"by-dev\"", result.text)
        self.assertIn("$(touch pwned) `touch pwned` $$ & #1", result.text)
        self.assertFalse((self.folder / "pwned").exists())
        # What it says to run next is quoted, too.
        self.assertIn(root, result.next_command("mend what is wrong and run again"))
        self.assertEqual(self.workloads(), self.before)
        pod = self.cluster.store.get("pods", NAMESPACE, "milvus-meta-migration-rel.1-x-plan")["spec"]
        self.assertEqual(pod["imagePullSecrets"], [{"name": "one"}, {"name": "two"}])

    def test_images_of_several_repositories_have_no_common_default(self) -> None:
        refused = self.script(code=1)
        self.assertIn("come from different repositories", refused.text)

    def test_what_is_given_for_our_pods(self) -> None:
        given = ["--resources", "requests.cpu=2,limits.memory=1Gi", "--labels=team=vectors,a/b=c", "--service-account", "special"]
        self.script("-o", "plan", *given, "--context=test")
        pod = self.cluster.store.get("pods", NAMESPACE, "milvus-meta-migration-rel.1-x-look")
        self.assertEqual(pod["metadata"]["labels"]["team"], "vectors")
        self.assertEqual(pod["metadata"]["labels"]["a/b"], "c")
        self.assertEqual(pod["spec"]["serviceAccountName"], "special")
        resources = {"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}}
        self.assertEqual(pod["spec"]["containers"][0]["resources"], resources)
        self.refused_context()

    def refused_context(self) -> None:
        refused = self.script("-o", "plan", "--context", "no-such", code=1)
        self.assertIn("no-such", refused.text)


class Password(Case):
    """An etcd elsewhere that asks for user and password, from a Secret as etcd's chart makes it or as kubectl does."""

    def setUp(self) -> None:
        super().setUp()
        self.etcd.demand_password("s3cret'\"$")
        secret = {"data": {"username": encoded("root"), "password": encoded("s3cret'\"$")}}
        self.cluster.add("Secret", "etcd-user", **secret)
        self.cluster.add("Secret", "chart", data={"etcd-root-password": encoded("s3cret'\"$\n")})

    def test_migrate_and_back_with_a_secret(self) -> None:
        refused = self.script(code=1)
        self.assertIn("authentication is enabled", refused.text)
        elsewhere = ["-e", self.etcd.address]
        result = self.script(*elsewhere, "-a", "etcd-user")
        self.assert_migrated()
        back = self.rollback(*elsewhere, "-a", "chart")
        self.assert_restored()
        everything = result.text + back.text + "".join(body for _, _, body in self.cluster.api.requests)
        self.assertNotIn("s3cret", everything)
        self.assertNotIn(encoded("s3cret'\"$"), everything)


@unittest.skipUnless(shutil.which("openssl"), "openssl makes the certificates")
class Tls(Case):
    """An etcd that asks for a client certificate."""

    def make_tls(self) -> None:
        self.tls = certificates(self.folder)

    def test_migrate_with_certificates_from_a_secret(self) -> None:
        assert self.tls
        names = ("ca.crt", "tls.crt", "tls.key")
        data = {name: base64.b64encode(self.tls[name].read_bytes()).decode() for name in names}
        self.cluster.add("Secret", "etcd-tls", data=data)
        self.script("-e", self.etcd.address, "-l", "etcd-tls", "-v", "1.2")
        self.assert_migrated()
        requests = "".join(body for _, _, body in self.cluster.api.requests)
        self.assertNotIn("PRIVATE KEY", requests)


class Refusals(Case):
    """What is refused before anything is touched."""

    def refuse(self, text: str, *arguments: str, instance: str | None = None) -> None:
        usual = self.usual()
        if instance:
            usual[1] = instance
        self.start(*usual, *arguments)
        result = self.finish()
        self.assertEqual(result.code, 1, result.text)
        self.assertIn(text, result.text)
        self.assert_untouched()

    def test_bad_usage(self) -> None:
        self.refuse("neither true nor false", "-k", "yes")
        self.refuse("--nonsense is not known", "--nonsense=1")
        self.refuse("is no list like", "--resources", "cpu=1")
        self.refuse("none of migrate", "-o", "upgrade")
        self.refuse("is no name of a Helm release", "-i", "x,y=z")
        self.refuse("no version like", "-t", "latest")
        self.refuse("reads the same metadata", "-t", "2.1.4")
        self.refuse("one too many", "true")
        self.refuse("-z is not known", "-z")
        self.refuse("is no name of an image", "-w", "a b")
        for options in ("--force", "--rename-collection a=b; reboot", "--rebuild-index $(id)", "--rename-alias 'a=b'"):
            self.refuse("is not what it takes", "-x", options)
        self.assertEqual(self.cluster.api.requests, [])

    def test_what_is_not_there(self) -> None:
        self.refuse("there is no Milvus other", instance="other")
        self.refuse("nothing is recorded", "-o", "rollback")
        self.refuse("cannot read the Secret nope", "-a", "nope")

    def test_missing_rights(self) -> None:
        self.cluster.api.denied.add(("patch", "deployments", ""))
        self.cluster.api.denied.add(("create", "pods", ""))
        self.refuse("create pods, patch deployments")

    def test_milvus_of_the_operator(self) -> None:
        label = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "milvus-operator"}}}
        self.cluster.store.patch("deployments", NAMESPACE, "my-release-milvus-proxy", label)
        self.refuse("MilvusUpgrade")

    def test_an_image_without_this_tool(self) -> None:
        self.cluster.tool = Path("/bin/false")
        self.refuse("does not hold this meta-migration")

    def test_a_container_that_cannot_be_told(self) -> None:
        containers = [{"name": name, "image": "our/thing"} for name in ("a", "b")]
        spec = {"spec": {"template": {"spec": {"containers": containers}}}}
        self.cluster.store.patch("deployments", NAMESPACE, "my-release-milvus-proxy", spec)
        self.before = self.workloads()
        self.start(*self.usual())
        result = self.finish()
        self.assertEqual(result.code, 1)
        self.assertIn("cannot tell which container of deployment/my-release-milvus-proxy", result.text)
        self.assertEqual(self.workloads(), self.before)


class Zeros(Case):
    """Milvus that was at 0 replicas from the beginning."""

    def scale_all(self, replicas: int) -> None:
        for name in ("rootcoord", "querynode", "proxy"):
            self.cluster.store.patch("deployments", NAMESPACE, f"my-release-milvus-{name}", {"spec": {"replicas": replicas}})
        self.cluster.wait_until_settled()

    def test_zeros_are_never_recorded(self) -> None:
        self.scale_all(0)
        failed = self.script(code=1)
        self.assertIn("nothing tells how many", failed.text)
        self.assertEqual(self.record(), {})
        # The command that it tells, with the right numbers.
        data = {"replicas": "my-release-milvus-proxy:2 my-release-milvus-querynode:3 my-release-milvus-rootcoord:1"}
        self.cluster.add("ConfigMap", "milvus-deploy-replicas-my-release", data=data)
        self.script()
        self.assert_migrated()
        self.rollback()
        self.assert_restored()


class Original(Case):
    """What the original script leaves behind."""

    def test_back_from_a_migration_by_the_original_script(self) -> None:
        self.script()
        # It keeps no images.
        data = {"images": None, "chart": None, "metaRoot": None}
        self.cluster.store.patch("configmaps", NAMESPACE, "milvus-deploy-replicas-my-release", {"data": data})
        refused = self.rollback(code=1)
        self.assertIn("old image of Milvus with -w", refused.text)
        self.assert_migrated_still()
        self.rollback("-w", OLD_IMAGE)
        self.assert_restored()

    def assert_migrated_still(self) -> None:
        self.assertEqual(self.workloads()["my-release-milvus-proxy"], (2, (f"proxy={NEW_IMAGE}",)))
        self.assertEqual(self.etcd.digest(), self.new_digest)

    def test_another_image_for_a_migrated_milvus(self) -> None:
        self.script()
        self.script("-w", "milvusdb/milvus:v2.2.15")
        self.assertEqual(self.workloads()["my-release-milvus-proxy"], (2, ("proxy=milvusdb/milvus:v2.2.15",)))
        self.rollback()
        self.assert_restored()


class Text(unittest.TestCase):
    """The script as a text."""

    @unittest.skipUnless(shutil.which("shellcheck"), "there is no shellcheck")
    def test_shellcheck_is_content(self) -> None:
        subprocess.run(["shellcheck", SCRIPT, Path(__file__).with_name("run.sh")], check=True)

    def test_other_shells_hand_over_to_bash_or_say_so(self) -> None:
        for shell in (["dash"], ["bash", "--posix"]):
            told = subprocess.run([*shell, SCRIPT, "-h"], check=True, capture_output=True, text=True)
            self.assertIn("-i NAME", told.stdout, shell)
        piped = subprocess.run(["dash"], stdin=SCRIPT.open(), capture_output=True, text=True)
        self.assertEqual((piped.returncode, piped.stderr.count("\n")), (1, 1), piped.stderr)

    def test_help(self) -> None:
        told = subprocess.run(["bash", SCRIPT, "-h"], check=True, capture_output=True, text=True)
        self.assertIn("-i NAME", told.stdout)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def certificates(folder: Path) -> dict[str, Path]:
    """A CA, and a certificate of it for etcd and one for its clients."""

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test CA")
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth"), ("tls", "extendedKeyUsage=clientAuth")):
        (folder / "extensions").write_text(extension)
        request = ["-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"]
        openssl("req", "-new", *key[:-2], *request)
        signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions"]
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)
    names = ("ca.crt", "server.crt", "server.key", "tls.crt", "tls.key")
    return {name: folder / name for name in names}

