"""The script is killed, or the API server fails, in every step; run again, it ends as if nothing had happened."""

from __future__ import annotations

from harness import Case, Result

# Method, path, body, and which of those requests. In the order in which they come.
MIGRATE = [
    ("POST", "/persistentvolumeclaims$", "", 1),
    ("POST", "/pods$", '-image"', 1),
    ("POST", "/pods$", '-plan"', 1),
    ("POST", "/configmaps$", "replicas", 1),
    ("PATCH", "/deployments/[^/]+$", '"replicas": 0', 2),
    ("POST", "/pods$", '-upgrade"', 1),
    ("PATCH", "/deployments/[^/]+$", "v2.2.16", 2),
    ("PATCH", "/deployments/[^/]+$", "v2.2.16", 1),
]
ROLLBACK = [
    ("POST", "/pods$", '-inspect"', 1),
    ("PATCH", "/deployments/[^/]+$", '"replicas": 0', 2),
    ("POST", "/pods$", '-rollback"', 1),
    ("PATCH", "/deployments/[^/]+$", "v2.1.0", 2),
]
# Whatever is refused has the same consequences as being killed a moment before; these differ in what is told.
REFUSED = ("", "replicas", '-upgrade"', "v2.2.16", '-rollback"', "v2.1.0")


class Faults(Case):
    def fail_at(self, point: tuple[str, str, str, int], how: str) -> None:
        method, path, body, nth = point
        action = None if how == "error" else self.kill_script
        self.fault(method, path, action, body=body, nth=nth, after=how == "killed")

    def run_into(self, points: list[tuple[str, str, str, int]], how: str, *arguments: str) -> None:
        """One run for each point, every one going on where the one before has failed."""
        for point in points:
            if how == "error" and point[2] not in REFUSED:
                continue
            with self.subTest(point=point):
                self.fail_at(point, how)
                self.start(*self.usual(), *arguments)
                result = self.finish()
                self.assertTrue(self.cluster.api.faults[-1].happened, f"{point} never came:\n{result.text}")
                self.assertNotEqual(result.code, 0, result.text)
                if how == "error":
                    self.check_what_is_told(result)

    def check_what_is_told(self, result: Result) -> None:
        self.assertIn("FAILED at step", result.text)
        wanted = sum(replicas for name, (replicas, _) in self.workloads().items() if "milvus" in name)
        self.assertEqual(wanted == 0, "SCALED DOWN" in result.text, result.text)
        if wanted == 0:
            self.assertIn("Next:", result.text)
            self.assertIn("-o rollback", result.text)
        written = self.state() != "none" or "my-release-rollback\n" in result.text
        self.assertEqual(result.code, 2 if written else 1, result.text)
        self.assertFalse("SCALED DOWN" in result.text and "not touched" in result.text.partition("FAILED")[2], result.text)

    def migrate_through(self, how: str) -> None:
        self.run_into(MIGRATE, how)
        self.script()
        self.assert_migrated()

    def back_through(self, how: str) -> None:
        self.script()
        self.run_into(ROLLBACK, how, "-o", "rollback")
        self.rollback()
        self.assert_restored()

    def test_migrate_when_the_script_is_killed(self) -> None:
        self.migrate_through("killed")

    def test_migrate_when_the_cluster_refuses(self) -> None:
        self.migrate_through("error")

    def test_rollback_when_the_script_is_killed(self) -> None:
        self.back_through("killed")

    def test_rollback_when_the_cluster_refuses(self) -> None:
        self.back_through("error")


def back_after(number: int) -> None:
    """Adds a test: a rollback after the script was killed at this point."""

    def test(self: Faults) -> None:
        self.fail_at(MIGRATE[number], "killed")
        self.start(*self.usual())
        self.finish()
        self.assertTrue(self.cluster.api.faults[-1].happened)
        self.rollback()
        self.assert_restored()

    setattr(Faults, f"test_back_after_point_{number}", test)


# Half of Milvus is stopped; the migration runs; half of the new Milvus is started.
for point_number in (4, 5, 6):
    back_after(point_number)
