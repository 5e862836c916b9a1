package main

import (
	"context"
	"log"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/encoding/protowire"
)

// What each coordinator of 2.1.0 reads before anything else, and ends with when it does not decode: IndexInfo, IndexMeta, SegmentInfo.
var readByOld = map[string]string{"rootcoord": "root-coord/index", "indexcoord": "indexes", "datacoord": "datacoord-meta/s"}

// SegmentInfo.start_position is a message, too.
const startPosition = 9

func isOld() bool { return strings.HasPrefix(os.Getenv("MILVUS_VERSION"), "2.1.") }

// A coordinator of 2.1 does not start on what it cannot decode; the others do not get ready without a root coordinator.
func startAsOld(client *clientv3.Client, root, role string) {
	for coordinator, prefix := range readByOld {
		if role == coordinator || role == "mixcoord" || role == "standalone" {
			readAsOld(client, root+"/"+prefix)
		}
	}
	for !strings.HasSuffix(role, "coord") && role != "standalone" && !rootCoordinatorIsUp(client, root) {
		time.Sleep(500 * time.Millisecond)
	}
}

func readAsOld(client *clientv3.Client, prefix string) {
	answer, err := client.Get(context.Background(), prefix, clientv3.WithPrefix())
	if err != nil {
		log.Fatalf("etcd: %v", err)
	}
	for _, pair := range answer.Kvs {
		// 2.1's mark of what it has deleted, in snapshots.
		if len(pair.Value) != 3 || string(pair.Value) != "\xE2\x9B\xBC" {
			if !decodes(pair.Value, true) {
				log.Fatalf("panic: %s does not decode", pair.Key)
			}
		}
	}
}

// decodes tells whether it is a protobuf message, as far as the wire format tells.
func decodes(value []byte, outer bool) bool {
	for len(value) > 0 {
		number, kind, length := protowire.ConsumeField(value)
		if length < 0 {
			return false
		}
		if outer && number == startPosition && kind == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(value)
			inner, _ := protowire.ConsumeBytes(value[tag:])
			if !decodes(inner, false) {
				return false
			}
		}
		value = value[length:]
	}
	return true
}

func rootCoordinatorIsUp(client *clientv3.Client, root string) bool {
	for _, role := range []string{"rootcoord", "mixcoord"} {
		answer, err := client.Get(context.Background(), root+"/session/"+role, clientv3.WithCountOnly())
		if err == nil && answer.Count > 0 {
			return true
		}
	}
	return false
}
