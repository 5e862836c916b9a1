"""Ends a 2.1.0 cluster as nobody would: some segments stay within their flush, some components end gently, most are killed."""

from clustered import FLUSHING_ONE, SEALED_ONE
from records import FLUSHING, SEALED, in_state, sessions
from servers import client, wait_for

from cluster.parts import Cluster
from target import say


def kill_part_by_part(cluster: Cluster) -> None:
    cluster.stop("indexnode1")
    # A segment is Flushed once an index of it has been asked for: there are enough rows for one.
    cluster.kill("indexcoord")
    flush_in_vain(cluster, FLUSHING_ONE, FLUSHING)
    # Without data nodes, nobody writes what the coordinator sealed.
    cluster.kill("datanode1", "datanode2")
    flush_in_vain(cluster, SEALED_ONE, SEALED)
    say(f"killed: {len(in_state(FLUSHING))} segments flushing, {len(in_state(SEALED))} sealed")
    cluster.stop("proxy")
    cluster.kill()
    wait_for("the sessions of the killed cluster to end", lambda: not sessions(), 120)


def flush_in_vain(cluster: Cluster, name: str, state: int) -> None:
    """Asks for a flush that will not end, until a segment of it is in that state."""
    before = set(in_state(state))
    with client(cluster, "live.py", "flush", name):
        wait_for(f"a segment in state {state}", lambda: bool(set(in_state(state)) - before), 120)
