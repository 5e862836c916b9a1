//! What the messages of both layouts look like: names, kinds and repetition of all fields, from the descriptors that `proto/`
//! compiles to.
//!
//! The descriptors are taken apart once: values are looked at by the million, and a field then costs no more than a search in
//! a short list.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost_reflect::{Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};

use super::families::Family;

/// The package of our messages; the pool has those of protobuf's own options too.
const PACKAGE: &str = "layout.";

/// A message: what it is called and what fields it has.
#[derive(Debug)]
pub struct MessageShape {
    /// As Milvus calls it, with its package: `etcd.CollectionInfo`.
    pub name: String,
    fields: Vec<FieldShape>,
}

/// One field of a message.
#[derive(Debug)]
pub struct FieldShape {
    number: u32,
    /// As Milvus spells it.
    pub name: String,
    /// What it holds.
    pub kind: ValueKind,
    /// Whether it is a list or a map.
    pub repeated: bool,
    /// Whether it is a copy of what another record holds.
    pub copy: bool,
}

/// What a field holds.
#[derive(Debug)]
pub enum ValueKind {
    /// A signed number.
    Int,
    /// An unsigned number.
    Uint,
    /// True or false.
    Bool,
    /// A string.
    Text,
    /// Bytes.
    Bytes,
    /// A number of these, each with what it means.
    Enum(BTreeMap<i32, String>),
    /// A message, by its place among all of them. An entry of a map is a message too, as on the wire.
    Message(usize),
    /// What no message of Milvus's metadata has: floating point, fixed width, zigzag, groups.
    Other,
}

impl MessageShape {
    /// The message that the values of a family are, if they are one.
    pub fn of(family: Family) -> Option<&'static Self> {
        SHAPES.families.get(&family).and_then(|at| SHAPES.messages.get(*at))
    }

    /// The name without its package: `CollectionInfo`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(_, name)| name)
    }

    /// All fields, by their numbers.
    pub fn fields(&self) -> &[FieldShape] {
        &self.fields
    }

    /// The field of a number, if it is known.
    pub fn field(&self, number: u32) -> Option<&FieldShape> {
        // Most messages have no gaps, so most fields stand where their number says.
        let guess = usize::try_from(number).ok()?.checked_sub(1)?;
        self.fields.get(guess).filter(|field| field.number == number).or_else(|| {
            let at = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
            self.fields.get(at)
        })
    }
}

impl FieldShape {
    /// The message that the field holds, if it holds one.
    pub fn message(&self) -> Option<&'static MessageShape> {
        match self.kind {
            ValueKind::Message(at) => SHAPES.messages.get(at),
            _ => None,
        }
    }

    /// Whether it is a list of numbers: the wire packs them into one value.
    pub fn packs(&self) -> bool {
        self.repeated && matches!(self.kind, ValueKind::Int | ValueKind::Uint | ValueKind::Bool | ValueKind::Enum(_))
    }
}

struct Shapes {
    messages: Vec<MessageShape>,
    families: BTreeMap<Family, usize>,
}

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
    // What is embedded was written by the compiler of the messages in this very build; the tests below decode it.
    #[allow(clippy::expect_used, reason = "a build whose own descriptors do not decode passes no test")]
    Shapes::of(&pool().expect("the embedded descriptors decode"))
});

/// The descriptors themselves.
pub(crate) fn pool() -> Result<DescriptorPool, prost_reflect::DescriptorError> {
    DescriptorPool::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"))[..])
}

impl Shapes {
    fn of(pool: &DescriptorPool) -> Self {
        let messages: Vec<_> = pool.all_messages().filter(|message| message.full_name().starts_with(PACKAGE)).collect();
        let places: BTreeMap<&str, usize> =
            messages.iter().enumerate().map(|(at, message)| (message.full_name(), at)).collect();
        let families =
            Family::all().filter_map(|family| Some((family, *places.get(family.message()?.as_str())?))).collect();
        let shapes = messages.iter().map(|message| MessageShape {
            name: said(&message.options(), "milvus").unwrap_or_else(|| plain_name(message)),
            // In the order of their numbers: prost-reflect keeps them so.
            fields: message.fields().map(|field| FieldShape::of(&field, &places)).collect(),
        });
        Self { messages: shapes.collect(), families }
    }
}

impl FieldShape {
    fn of(field: &FieldDescriptor, places: &BTreeMap<&str, usize>) -> Self {
        let copy = option(&field.options(), "copy").and_then(|value| value.as_bool()).unwrap_or_default();
        Self {
            number: field.number(),
            name: field.name().to_owned(),
            kind: ValueKind::of(&field.kind(), places),
            repeated: field.cardinality() == Cardinality::Repeated,
            copy,
        }
    }
}

impl ValueKind {
    fn of(kind: &Kind, places: &BTreeMap<&str, usize>) -> Self {
        match kind {
            Kind::Int32 | Kind::Int64 => Self::Int,
            Kind::Uint32 | Kind::Uint64 => Self::Uint,
            Kind::Bool => Self::Bool,
            Kind::String => Self::Text,
            Kind::Bytes => Self::Bytes,
            Kind::Message(message) => places.get(message.full_name()).map_or(Self::Other, |at| Self::Message(*at)),
            Kind::Enum(names) => {
                let words = |value: prost_reflect::EnumValueDescriptor| {
                    said(&value.options(), "says").unwrap_or_else(|| value.name().to_lowercase().replace('_', " "))
                };
                Self::Enum(names.values().map(|value| (value.number(), words(value))).collect())
            }
            _ => Self::Other,
        }
    }
}

/// The name of a message that Milvus has no name for; an entry of a map is one.
fn plain_name(message: &MessageDescriptor) -> String {
    message.full_name().trim_start_matches(PACKAGE).to_owned()
}

/// The text of one of our own options (proto/names.proto), where it is set.
fn said(options: &DynamicMessage, name: &str) -> Option<String> {
    option(options, name)?.as_str().map(ToOwned::to_owned)
}

fn option(options: &DynamicMessage, name: &str) -> Option<prost_reflect::Value> {
    let (_, value) = options.extensions().find(|(extension, _)| extension.name() == name)?;
    Some(value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_every_family_is_described_and_named_as_milvus_names_it() {
        for family in Family::all() {
            let shape = MessageShape::of(family);
            assert_eq!(shape.is_some(), family.message().is_some(), "{family:?}");
            assert!(shape.is_none_or(|message| !message.fields().is_empty()), "{family:?}");
        }
        let name = |family| MessageShape::of(family).map(|message| (&*message.name, message.short_name()));
        assert_eq!(name(Family::DatabaseCollection), Some(("etcd.CollectionInfo", "CollectionInfo")));
        assert_eq!(name(Family::SourceLoadState), Some(("query.CollectionInfo", "CollectionInfo")));
        assert_eq!(name(Family::DdOperation), None);
    }

    #[test]
    fn all_kinds_of_fields_that_proto_has_are_known() {
        let fields = || SHAPES.messages.iter().flat_map(MessageShape::fields);
        for field in fields() {
            assert!(!matches!(field.kind, ValueKind::Other), "{field:?}");
        }
        let copies: Vec<&str> = fields().filter(|field| field.copy).map(|field| &*field.name).collect();
        assert_eq!(copies, ["field_schema", "schema"]);
    }

    #[test]
    fn fields_are_found_by_their_numbers_with_gaps_too() {
        for message in &SHAPES.messages {
            for field in message.fields() {
                assert_eq!(message.field(field.number).map(|found| &found.name), Some(&field.name), "{message:?}");
            }
            assert!([0, 4711, u32::MAX].iter().all(|number| message.field(*number).is_none()));
        }
        let request = SHAPES.messages.iter().find(|message| message.name == "index.BuildIndexRequest").unwrap();
        assert!(request.field(4).is_none());
    }

    #[test]
    fn every_message_but_map_entries_and_backup_records_has_the_name_that_milvus_gives_it() {
        for message in &SHAPES.messages {
            let package = message.name.split('.').next().unwrap();
            let milvus = ["common", "data", "etcd", "index", "internal", "milvus", "query", "schema"];
            let ours = message.name.starts_with("backup.") || message.name.ends_with(".FieldIndexIDEntry");
            assert!(ours || milvus.contains(&package), "{}", message.name);
        }
    }
}
