#!/usr/bin/env bash
# Gets what a cluster needs beyond e2e/setup.sh into .tools/cluster: a launcher for the roles of Milvus 2.1.0, Kafka
# (with E2E_LOG=pulsar: Pulsar, too) from Maven Central, MinIO as a Go module, and the executables of Milvus 2.2 that are
# named, mended for S3 storage.
# Needs gcc, Java 17 with Maven, Go. What is there already stays.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly TOOLS=$PWD/.tools/cluster
readonly OLD=$PWD/.tools/milvus-2.1.0
readonly MINIO=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

say() { echo "e2e: $*"; }

fail() {
    echo "e2e: $*" >&2
    exit 1
}

for command in gcc mvn java go; do
    command -v "$command" >/dev/null || fail "a cluster needs $command: install gcc, a JDK 17, Maven and Go"
done
mkdir -p "$TOOLS/kafka"

if [ e2e/cluster/milvus21.c -nt "$TOOLS/milvus21" ]; then
    gcc -O1 -Wall -o "$TOOLS/milvus21" e2e/cluster/milvus21.c -Wl,--no-as-needed "$OLD/bin/embd-milvus.so" -ldl \
        -Wl,--allow-shlib-undefined -Wl,-rpath,"$OLD/bin:$OLD/lib"
fi
if [ ! -e "$TOOLS/kafka/complete" ]; then
    say "installing Kafka into .tools/cluster/kafka"
    mvn -q -B -f e2e/cluster/kafka-pom.xml dependency:copy-dependencies "-DoutputDirectory=$TOOLS/kafka"
    touch "$TOOLS/kafka/complete"
fi
if [ "${E2E_LOG:-kafka}" = pulsar ] && [ ! -e "$TOOLS/pulsar/complete" ]; then
    say "installing Pulsar into .tools/cluster/pulsar"
    mvn -q -B -f e2e/cluster/pulsar-pom.xml dependency:copy-dependencies "-DoutputDirectory=$TOOLS/pulsar"
    touch "$TOOLS/pulsar/complete"
fi
if [ ! -x "$TOOLS/minio" ]; then
    say "building MinIO into .tools/cluster (about 8 minutes)"
    GOBIN=$TOOLS go install -p 2 "$MINIO"
fi
for version in "$@"; do
    if [[ $version = 2.2.* && ! -x $TOOLS/milvus-$version ]]; then
        python3 e2e/cluster/hide_openssl.py ".tools/milvus-$version/bin" "$TOOLS/milvus-$version"
    fi
done
