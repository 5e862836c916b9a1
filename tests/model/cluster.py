"""A cluster in the making: what all of its parts share."""
import random

from source import TOMBSTONE


class Cluster:
    def __init__(self, seed, contested=()):
        self.contested = contested
        self.kvs = {}
        self.live = []              # collection IDs
        self.gone = []
        self.r = r = random.Random(seed)
        # 2.1 takes IDs and timestamps from one counter: they look alike.
        self.counter = r.choice([470605839296564545, 470605839296564545, 431000000000000001, 1_000_001, (1 << 62) + 7])
        self.sign = -1 if self.chance(0.05) else 1
        self.with_unknown = self.chance(0.5)
        self.came_from_2_0 = self.chance(0.4)
        self.queue = r.choice(["rocksmq", "rocksmq", "kafka", "pulsar"])
        self.keeps_one_statslog = self.chance(0.4)      # 2.1.2 to 2.1.4
        self.names = set()
        self.bucket = r.choice(["files/", "files/", "", "by-dev/", "a-bucket/some/root.path/", "index_files/", "/abs/"])

    def chance(self, probability):
        return self.r.random() < probability

    def wants(self, shape):
        """Whether a contested shape is to be made, now."""
        return shape in self.contested and self.chance(0.2)

    def number(self):
        """The next number of the counter: a timestamp or a build ID."""
        self.counter += self.r.choice([1, 1, 2, 3, 17, 262144, 1000003])
        return self.counter

    def id(self):
        return self.sign * self.number()

    def put(self, key, value):
        key = key.encode() if isinstance(key, str) else key
        assert key not in self.kvs, key
        self.kvs[key] = value

    def put_history(self, key, timestamps, values):
        """Snapshots of a key."""
        for timestamp, value in zip(timestamps, values):
            self.put(f"snapshots/{key}_ts{timestamp}", value)

    def put_tombstones(self, key, old_value):
        """A key that 2.0 wrote, and that was deleted."""
        self.put(key, TOMBSTONE)
        self.put_history(key, [self.number(), self.number()], [old_value, TOMBSTONE])
