"""Writes down everything that a running Milvus says about the collections of data.py, as JSON.

Runs with pymilvus 2.1, 2.2 and 2.3 alike: metadata are asked for over gRPC directly, as the clients differ there."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
from pymilvus import Collection, MilvusException
from pymilvus.grpc_gen import milvus_pb2 as api

from case import (
    Case, batches, expressions, key_of, living, loaded_partitions_of, questions, search_params, vectors,
)
from client import connect, service
from data import ALIASES, BY_NAME, NAMES, NEW_NAMES, USERS, case_of
from settings import CLUSTER

TIMEOUT = 60
SETTLE = 600
"""2.3.0 loads no more than ten files per core at a time, and tries again a while later: minutes, on a busy machine."""
QUESTIONS = 500
"""in one search"""
NEAR = 1e-3
NO_INDEX = ("index not exist", "index doesn't exist", "index not found", "no index", "there is no index")

COMING_UP = ("not loaded", "no replica available", "no available shard", "no shard leader", "is no available")
REFUSED = ("invalid param", "dimension mismatch")
"""Stand in some errors beside words of those above; asking again does not help."""
LATE = ("Deadline Exceeded", "deadline exceeded", "Retry timeout")
"""On a busy machine, query nodes of a cluster can be minutes behind the message log when they come up: until then nothing
that wants the latest state gets an answer."""
NO_MEASURE = "a server that does not get up to date is no measure"
PATIENT_UNTIL = time.monotonic() + (2 * SETTLE if CLUSTER else SETTLE)

SETTLED = "Bounded"
"""Once a collection has answered from its latest state, nothing new comes: it need not wait for the next tick of each channel."""

stub = service()


class Refused(Exception):
    pass


def ask(call: Callable[..., Any], request: Any) -> Any:
    reply = call(request, timeout=TIMEOUT)
    status = getattr(reply, "status", reply)
    if status.error_code != 0:
        raise Refused(status.reason or f"error code {status.error_code}")
    return reply


def pairs(entries: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in entries}


def rows_of(reply: Any) -> int:
    return int(pairs(reply.stats)["row_count"])


def describe(name: str) -> dict[str, Any]:
    reply = ask(stub.DescribeCollection, api.DescribeCollectionRequest(collection_name=name))
    return {
        "id": reply.collectionID,
        "name": reply.schema.name,
        "description": reply.schema.description,
        "auto_id": reply.schema.autoID,
        "shards": reply.shards_num,
        "consistency": int(reply.consistency_level),
        "created": reply.created_timestamp,
        "channels": sorted(reply.virtual_channel_names),
        "aliases": sorted(reply.aliases),
        "fields": [
            {
                "name": field.name,
                "id": field.fieldID,
                "type": int(field.data_type),
                "description": field.description,
                "key": field.is_primary_key,
                "auto_id": field.autoID,
                "params": pairs(field.type_params),
            }
            for field in reply.schema.fields
        ],
    }


def partitions(name: str) -> dict[str, Any]:
    reply = ask(stub.ShowPartitions, api.ShowPartitionsRequest(collection_name=name))
    found = {}
    for partition, number in zip(reply.partition_names, reply.partitionIDs):
        request = api.GetPartitionStatisticsRequest(collection_name=name, partition_name=partition)
        found[partition] = {"id": number, "rows": rows_of(ask(stub.GetPartitionStatistics, request))}
    return dict(sorted(found.items()))


def parameters(index: Any) -> dict[str, str]:
    """2.1 nests the parameters as JSON under `params`, later versions may list them one by one."""
    found = pairs(index.params)
    nested = json.loads(found.pop("params", "{}") or "{}")
    found |= {key: str(value) for key, value in nested.items()}
    return dict(sorted(found.items()))


def indexes(name: str) -> dict[str, Any]:
    try:
        reply = ask(stub.DescribeIndex, api.DescribeIndexRequest(collection_name=name))
    except Refused as refused:
        if any(words in str(refused) for words in NO_INDEX):
            return {}
        raise
    return {
        index.field_name: {"name": index.index_name, "id": index.indexID, "params": parameters(index)}
        for index in sorted(reply.index_descriptions, key=lambda index: index.field_name)
    }


def progress(name: str, index_name: str) -> list[int]:
    request = api.GetIndexBuildProgressRequest(collection_name=name, index_name=index_name)
    reply = ask(stub.GetIndexBuildProgress, request)
    return [reply.indexed_rows, reply.total_rows]


def loaded_collections() -> dict[str, int]:
    reply = ask(stub.ShowCollections, api.ShowCollectionsRequest(type=1))
    return dict(zip(reply.collection_names, reply.inMemory_percentages))


def loaded_partitions(name: str) -> dict[str, int]:
    reply = ask(stub.ShowPartitions, api.ShowPartitionsRequest(collection_name=name, type=1))
    return dict(sorted(zip(reply.partition_names, reply.inMemory_percentages)))


def wait_loaded() -> dict[str, int]:
    """What is loaded, once loading has settled: a server that has just started takes a while."""
    end = time.monotonic() + SETTLE
    while True:
        loaded = loaded_collections()
        if all(percent == 100 for percent in loaded.values()) or time.monotonic() > end:
            return loaded
        time.sleep(0.5)


def hits(result: Any) -> list[list[list[Any]]]:
    return [[[hit.id, round(float(hit.distance), 4)] for hit in question] for question in result]


def patiently(ask_for: Callable[[], Any]) -> Any:
    """A server that has just started says that collections are loaded before they answer: they get some time."""
    while True:
        try:
            return ask_for()
        except (MilvusException, grpc.RpcError) as error:
            passing = COMING_UP + LATE if CLUSTER else COMING_UP
            is_refused = any(words in str(error) for words in REFUSED)
            is_passing = not is_refused and any(words in str(error) for words in passing)
            if time.monotonic() > PATIENT_UNTIL or not is_passing:
                raise
        time.sleep(1)


def answer(ask_for: Callable[[], Any]) -> Any:
    """What a reader gets; a refusal is an observation, too."""
    try:
        return patiently(ask_for)
    except Exception as error:  # noqa: BLE001
        if "promptly" in sys.argv[2:] and any(words in str(error) for words in LATE):
            sys.exit(f"{NO_MEASURE}: {error}")
        return f"error: {error}"[:300]


def search(case: Case, name: str, within: list[str] | None = None, level: str = "Strong") -> Any:
    return answer(lambda: hits(Collection(name).search(
        questions(case), "vec", search_params(case), 10, partition_names=within,
        consistency_level=level, timeout=TIMEOUT,
    )))


def query(case: Case, name: str, expression: str, level: str = "Strong") -> Any:
    # 2.1 must not be asked for indexed scalars or for BOOL: it answers wrongly, and overwrites files.
    fields = ["pk", "num"] if not case.scalar_indexes else ["pk"]
    found = answer(lambda: Collection(name).query(
        expression, output_fields=fields, consistency_level=level, timeout=TIMEOUT
    ))
    if isinstance(found, str):
        return found
    if case.key == "auto":
        return sorted(row["num"] for row in found)
    return sorted([row["pk"], row.get("num")] for row in found)


def every_row(case: Case, name: str) -> Any:
    """What a reader finds when asking for everything: deleted rows are not among it, unflushed ones are."""
    return query(case, name, 'pk >= ""' if case.key == "varchar" else "pk >= 0")


def counted(name: str) -> Any:
    """`count(*)`, which newer servers keep for themselves."""
    return answer(lambda: Collection(name).query(
        "", output_fields=["count(*)"], consistency_level=SETTLED, timeout=TIMEOUT
    )[0]["count(*)"])


def lost_vectors(case: Case, name: str) -> Any:
    """The rows that are not their own nearest neighbours: those whose vectors are no longer what was inserted."""
    partition = living(case)
    loaded = loaded_partitions_of(case)
    lost = []
    for batch in batches(case):
        found = vectors(case, batch.first, batch.end - batch.first)
        for first in range(batch.first, batch.end, QUESTIONS):
            rows = [row for row in range(first, min(first + QUESTIONS, batch.end))
                    if row in partition and (loaded is None or partition[row] in loaded)]
            nearest = nearest_to(case, name, [found[row - batch.first] for row in rows]) if rows else []
            if isinstance(nearest, str):
                return nearest
            lost += [row for row, key in zip(rows, nearest) if key != key_of(case, row)]
    return lost


def nearest_to(case: Case, name: str, wanted: list[Any]) -> Any:
    found = answer(lambda: hits(Collection(name).search(
        wanted, "vec", search_params(case), 1, consistency_level=SETTLED, timeout=TIMEOUT
    )))
    return found if isinstance(found, str) else [hit[0][0] if hit and hit[0][1] < NEAR else None for hit in found]


def replicas(name: str) -> Any:
    """The channels of each replica that serves a collection; who serves them is new with every start."""
    return answer(lambda: sorted(
        [len(group.group_nodes) > 0, sorted(shard.channel_name for shard in group.shards)]
        for group in Collection(name).get_replicas(timeout=TIMEOUT).groups
    ))


def collection(name: str, loaded: dict[str, int], counts: bool = False) -> dict[str, Any]:
    case = case_of(name)
    known = indexes(name)
    found: dict[str, Any] = {
        "describe": describe(name),
        "partitions": partitions(name),
        "indexes": known,
        "progress": {field: progress(name, index["name"]) for field, index in known.items()},
        "rows": rows_of(ask(stub.GetCollectionStatistics, api.GetCollectionStatisticsRequest(collection_name=name))),
        "loaded": loaded.get(name),
        "loaded_partitions": loaded_partitions(name) if name in loaded else {},
    }
    if case and name in loaded:
        found["search"] = search(case, name)
        found["query"] = {expression: query(case, name, expression, SETTLED) for expression in expressions(case)}
        found["every_row"] = every_row(case, name)
        found["counted"] = counted(name) if counts else None
        found["replicas"] = replicas(name)
        if case.finds_itself:
            found["lost_vectors"] = lost_vectors(case, name)
        some = [partition for partition in found["loaded_partitions"] if partition.startswith("p_")]
        found["search_partition"] = search(case, name, some[:1], SETTLED) if some else None
    return found


def careful(what: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return what(*arguments)
    except (Refused, grpc.RpcError) as error:
        return {"error": str(error)[:300]}


def let_in(name: str, password: str) -> bool:
    """Where nobody has to say who calls, everybody is."""
    try:
        ask(service((name, password)).ShowCollections, api.ShowCollectionsRequest())
    except (Refused, grpc.RpcError):
        return False
    return True


def main() -> None:
    """observe.py FILE [renamed] [counts] [promptly]: `renamed` asks for the names that the migration gave, `counts` for count(*),
    `promptly` fails at the first answer that comes too late."""
    new_names = NEW_NAMES if "renamed" in sys.argv[2:] else {}
    counts = "counts" in sys.argv[2:]
    names = {new_names.get(name, name) for name in NAMES}
    aliases = {new_names.get(alias, alias): name for alias, name in ALIASES.items()}
    connect()
    loaded = wait_loaded()
    listed = sorted(ask(stub.ShowCollections, api.ShowCollectionsRequest()).collection_names)
    observed = {
        "listed": listed,
        "collections": {name: careful(collection, name, loaded, counts) for name in sorted({*names, *listed})},
        "aliases": {alias: careful(lambda alias: describe(alias)["name"], alias) for alias in aliases},
        "alias_search": {
            alias: search(BY_NAME[name], alias) for alias, name in aliases.items() if name in loaded
        },
        "users": sorted(ask(stub.ListCredUsers, api.ListCredUsersRequest()).usernames),
        "logins": {name: [let_in(name, password), let_in(name, f"not {password}")] for name, password in USERS.items()},
    }
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(observed, file, indent=1, ensure_ascii=False)


if __name__ == "__main__":
    main()
