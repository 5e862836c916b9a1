//! Names of the fields of Milvus's messages, as Milvus spells them (a wrong spelling of its own included), and which key holds
//! which message.
//!
//! These tables know more fields than `proto/`, which has what the rules need: whoever looks at a value wants to see all of it.

use crate::layout::keys::{Key, Plain};

/// The fields of a message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: &'static str,
    fields: &'static [Field],
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    number: u32,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Int,
    Uint,
    Bool,
    Text,
    Bytes,
    Enum(&'static [(u64, &'static str)]),
    Message(&'static Message),
}

use Kind::{Bool, Bytes, Enum, Int, Text, Uint};

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, repeated: false }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, repeated: true }
}

impl Message {
    /// The field of a number, if it is known.
    pub(super) fn field(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

/// The message that a key holds. A snapshot holds what its plain key holds.
pub(super) fn message_at(key: &Key) -> Option<&'static Message> {
    Some(match key {
        Key::Plain(plain) | Key::Snapshot(plain, _) => match plain {
            // 2.1 keeps an alias as a collection record with nothing but the ID and the name.
            Plain::Collection(_) | Plain::SourceAlias(_) => &COLLECTION,
            Plain::SourceIndex { .. } => &SOURCE_INDEX,
            Plain::SourceSegmentIndex { .. } => &SOURCE_SEGMENT_INDEX,
            Plain::Partition { .. } => &PARTITION,
            Plain::Field { .. } => &FIELD_SCHEMA,
            Plain::Alias(_) => &ALIAS,
            Plain::DdOperation | Plain::DdMsgSend => return None,
        },
        Key::Build(_) => &INDEX_META,
        Key::LoadState(_) => &LOAD_STATE,
        Key::Segment { .. } => &SEGMENT,
        Key::FieldIndex { .. } => &FIELD_INDEX,
        Key::SegmentIndex { .. } => &SEGMENT_INDEX,
        Key::CollectionLoad(_) => &COLLECTION_LOAD,
        Key::PartitionLoad { .. } => &PARTITION_LOAD,
        Key::ChannelCheckpoint(_) => &MSG_POSITION,
        Key::Session | Key::Other => return None,
    })
}

const INDEX_STATE: Kind =
    Enum(&[(0, "none"), (1, "unissued"), (2, "in progress"), (3, "finished"), (4, "failed"), (5, "retry")]);
const OBJECT_STATE: Kind = Enum(&[(0, "created"), (1, "creating"), (2, "dropping"), (3, "dropped")]);
const LOAD_STATUS: Kind = Enum(&[(0, "invalid"), (1, "loading"), (2, "loaded")]);
const LOAD_TYPE: Kind = Enum(&[(0, "unknown"), (1, "partition"), (2, "collection")]);
const CONSISTENCY: Kind = Enum(&[(0, "strong"), (1, "session"), (2, "bounded"), (3, "eventually"), (4, "customized")]);
const SEGMENT_STATE: Kind = Enum(&[
    (0, "none"),
    (1, "not exist"),
    (2, "growing"),
    (3, "sealed"),
    (4, "flushed"),
    (5, "flushing"),
    (6, "dropped"),
    (7, "importing"),
]);
const DATA_TYPE: Kind = Enum(&[
    (0, "None"),
    (1, "Bool"),
    (2, "Int8"),
    (3, "Int16"),
    (4, "Int32"),
    (5, "Int64"),
    (10, "Float"),
    (11, "Double"),
    (20, "String"),
    (21, "VarChar"),
    (22, "Array"),
    (23, "JSON"),
    (100, "BinaryVector"),
    (101, "FloatVector"),
]);

const PAIRS: Kind =
    Kind::Message(&Message { name: "common.KeyValuePair", fields: &[one(1, "key", Text), one(2, "value", Text)] });
const DATA_PAIRS: Kind =
    Kind::Message(&Message { name: "common.KeyDataPair", fields: &[one(1, "key", Text), one(2, "data", Bytes)] });
/// An entry of a map is a message on the wire.
const ID_MAP: Kind =
    Kind::Message(&Message { name: "map<int64, int64>", fields: &[one(1, "key", Int), one(2, "value", Int)] });

static FIELD_SCHEMA: Message = Message {
    name: "schema.FieldSchema",
    fields: &[
        one(1, "fieldID", Int),
        one(2, "name", Text),
        one(3, "is_primary_key", Bool),
        one(4, "description", Text),
        one(5, "data_type", DATA_TYPE),
        many(6, "type_params", PAIRS),
        many(7, "index_params", PAIRS),
        one(8, "autoID", Bool),
        one(9, "state", OBJECT_STATE),
    ],
};
static COLLECTION_SCHEMA: Message = Message {
    name: "schema.CollectionSchema",
    fields: &[
        one(1, "name", Text),
        one(2, "description", Text),
        one(3, "autoID", Bool),
        many(4, "fields", Kind::Message(&FIELD_SCHEMA)),
    ],
};
static COLLECTION: Message = Message {
    name: "etcd.CollectionInfo",
    fields: &[
        one(1, "ID", Int),
        one(2, "schema", Kind::Message(&COLLECTION_SCHEMA)),
        one(3, "create_time", Uint),
        many(4, "partitionIDs", Int),
        many(5, "partitionNames", Text),
        many(6, "field_indexes", FIELD_INDEX_INFO),
        many(7, "virtual_channel_names", Text),
        many(8, "physical_channel_names", Text),
        many(9, "partition_created_timestamps", Uint),
        one(10, "shards_num", Int),
        many(11, "start_positions", DATA_PAIRS),
        one(12, "consistency_level", CONSISTENCY),
        one(13, "state", OBJECT_STATE),
        many(14, "properties", PAIRS),
    ],
};
const FIELD_INDEX_INFO: Kind =
    Kind::Message(&Message { name: "etcd.FieldIndexInfo", fields: &[one(1, "filedID", Int), one(2, "indexID", Int)] });
static SOURCE_INDEX: Message = Message {
    name: "etcd.IndexInfo",
    fields: &[
        one(1, "index_name", Text),
        one(2, "indexID", Int),
        many(3, "index_params", PAIRS),
        one(4, "deleted", Bool),
        one(5, "create_time", Uint),
    ],
};
static SOURCE_SEGMENT_INDEX: Message = Message {
    name: "etcd.SegmentIndexInfo",
    fields: &[
        one(1, "collectionID", Int),
        one(2, "partitionID", Int),
        one(3, "segmentID", Int),
        one(4, "fieldID", Int),
        one(5, "indexID", Int),
        one(6, "buildID", Int),
        one(7, "enable_index", Bool),
        one(8, "create_time", Uint),
    ],
};
static BUILD_REQUEST: Message = Message {
    name: "index.BuildIndexRequest",
    fields: &[
        one(1, "indexBuildID", Int),
        one(2, "index_name", Text),
        one(3, "indexID", Int),
        many(5, "data_paths", Text),
        many(6, "type_params", PAIRS),
        many(7, "index_params", PAIRS),
        one(8, "num_rows", Int),
        one(9, "field_schema", Kind::Message(&FIELD_SCHEMA)),
        one(10, "segmentID", Int),
    ],
};
static INDEX_META: Message = Message {
    name: "index.IndexMeta",
    fields: &[
        one(1, "indexBuildID", Int),
        one(2, "state", INDEX_STATE),
        one(3, "fail_reason", Text),
        one(4, "req", Kind::Message(&BUILD_REQUEST)),
        many(5, "index_file_paths", Text),
        one(6, "mark_deleted", Bool),
        one(7, "nodeID", Int),
        one(8, "index_version", Int),
        one(9, "recycled", Bool),
        one(10, "serialize_size", Uint),
    ],
};
const PARTITION_STATES: Kind = Kind::Message(&Message {
    name: "query.PartitionStates",
    fields: &[one(1, "partitionID", Int), one(2, "state", Int), one(3, "inMemory_percentage", Int)],
});
static LOAD_STATE: Message = Message {
    name: "query.CollectionInfo",
    fields: &[
        one(1, "collectionID", Int),
        many(2, "partitionIDs", Int),
        many(3, "partition_states", PARTITION_STATES),
        one(4, "load_type", LOAD_TYPE),
        one(5, "schema", Kind::Message(&COLLECTION_SCHEMA)),
        many(6, "released_partitionIDs", Int),
        one(7, "inMemory_percentage", Int),
        many(8, "replica_ids", Int),
        one(9, "replica_number", Int),
    ],
};
static MSG_POSITION: Message = Message {
    name: "internal.MsgPosition",
    fields: &[
        one(1, "channel_name", Text),
        one(2, "msgID", Bytes),
        one(3, "msgGroup", Text),
        one(4, "timestamp", Uint),
    ],
};
const POSITION: Kind = Kind::Message(&MSG_POSITION);
static BINLOG: Message = Message {
    name: "data.Binlog",
    fields: &[
        one(1, "entries_num", Int),
        one(2, "timestamp_from", Uint),
        one(3, "timestamp_to", Uint),
        one(4, "log_path", Text),
        one(5, "log_size", Int),
    ],
};
const FIELD_BINLOGS: Kind = Kind::Message(&Message {
    name: "data.FieldBinlog",
    fields: &[one(1, "fieldID", Int), many(2, "binlogs", Kind::Message(&BINLOG))],
});
static SEGMENT: Message = Message {
    name: "data.SegmentInfo",
    fields: &[
        one(1, "ID", Int),
        one(2, "collectionID", Int),
        one(3, "partitionID", Int),
        one(4, "insert_channel", Text),
        one(5, "num_of_rows", Int),
        one(6, "state", SEGMENT_STATE),
        one(7, "max_row_num", Int),
        one(8, "last_expire_time", Uint),
        one(9, "start_position", POSITION),
        one(10, "dml_position", POSITION),
        many(11, "binlogs", FIELD_BINLOGS),
        many(12, "statslogs", FIELD_BINLOGS),
        many(13, "deltalogs", FIELD_BINLOGS),
        one(14, "createdByCompaction", Bool),
        many(15, "compactionFrom", Int),
        one(16, "dropped_at", Uint),
    ],
};

static PARTITION: Message = Message {
    name: "etcd.PartitionInfo",
    fields: &[
        one(1, "partitionID", Int),
        one(2, "partitionName", Text),
        one(3, "partition_created_timestamp", Uint),
        one(4, "collection_id", Int),
        one(5, "state", OBJECT_STATE),
    ],
};
static ALIAS: Message = Message {
    name: "etcd.AliasInfo",
    fields: &[
        one(1, "alias_name", Text),
        one(2, "collection_id", Int),
        one(3, "created_time", Uint),
        one(4, "state", OBJECT_STATE),
    ],
};
static INDEX_INFO: Message = Message {
    name: "index.IndexInfo",
    fields: &[
        one(1, "collectionID", Int),
        one(2, "fieldID", Int),
        one(3, "index_name", Text),
        one(4, "indexID", Int),
        many(5, "type_params", PAIRS),
        many(6, "index_params", PAIRS),
        one(7, "indexed_rows", Int),
        one(8, "total_rows", Int),
        one(9, "state", INDEX_STATE),
        one(10, "index_state_fail_reason", Text),
        one(11, "is_auto_index", Bool),
        many(12, "user_index_params", PAIRS),
    ],
};
static FIELD_INDEX: Message = Message {
    name: "index.FieldIndex",
    fields: &[one(1, "index_info", Kind::Message(&INDEX_INFO)), one(2, "deleted", Bool), one(3, "create_time", Uint)],
};
static SEGMENT_INDEX: Message = Message {
    name: "index.SegmentIndex",
    fields: &[
        one(1, "collectionID", Int),
        one(2, "partitionID", Int),
        one(3, "segmentID", Int),
        one(4, "num_rows", Int),
        one(5, "indexID", Int),
        one(6, "buildID", Int),
        one(7, "nodeID", Int),
        one(8, "index_version", Int),
        one(9, "state", INDEX_STATE),
        one(10, "fail_reason", Text),
        many(11, "index_file_keys", Text),
        one(12, "deleted", Bool),
        one(13, "create_time", Uint),
        one(14, "serialize_size", Uint),
        one(15, "write_handoff", Bool),
    ],
};
static COLLECTION_LOAD: Message = Message {
    name: "query.CollectionLoadInfo",
    fields: &[
        one(1, "collectionID", Int),
        many(2, "released_partitions", Int),
        one(3, "replica_number", Int),
        one(4, "status", LOAD_STATUS),
        many(5, "field_indexID", ID_MAP),
    ],
};
static PARTITION_LOAD: Message = Message {
    name: "query.PartitionLoadInfo",
    fields: &[
        one(1, "collectionID", Int),
        one(2, "partitionID", Int),
        one(3, "replica_number", Int),
        one(4, "status", LOAD_STATUS),
        many(5, "field_indexID", ID_MAP),
    ],
};
