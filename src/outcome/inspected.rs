//! What `inspect` has found, as text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::against::Against;
use super::{Ended, Header, Next, Step};
use crate::amounts::{bytes, many, thousands};
use crate::backup::Manifest;
use crate::backup::examine::{Check, Damage, Examination, FileFormat, Verdict};
use crate::layout::keys::printable;
use crate::state::State;

/// The outcome of `inspect`: the file, and what was asked of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct InspectOutcome {
    /// What all outcomes begin with.
    #[serde(flatten)]
    pub header: Header,
    /// What is known of the file as a whole.
    pub file: Examination,
    /// What was asked.
    pub view: View,
}

impl InspectOutcome {
    /// A file that is not sound is not ok, whatever was asked of it; nor is one that differs from what it was held against.
    pub fn new(file: Examination, view: View) -> Self {
        let differs = matches!(&view, View::Against(against) if !against.same);
        let (ended, next) = match (file.sound, differs) {
            (true, false) => (Ended::Done, Next::new(Step::Nothing, "nothing: the file is sound")),
            (true, true) => (Ended::NotOk, Next::new(Step::Nothing, "nothing: both files are sound, and differ")),
            (false, _) => {
                (Ended::NotOk, Next::new(Step::Correct, "look for another copy: `rollback` refuses this one"))
            }
        };
        Self { header: Header::new("inspect", ended, State::Unknown, next), file, view }
    }
}

/// What was asked of a backup file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Nothing but the file as a whole.
    Summary,
    /// Its keys.
    List {
        /// What they begin with.
        prefix: String,
        /// In the order of the file.
        keys: Vec<ListedKey>,
    },
    /// The value of one key.
    Key {
        /// As it was typed.
        key: String,
        /// `None` if the file does not hold it.
        shown: Option<ShownKey>,
    },
    /// What came, went and changed against an earlier file.
    Against(Against),
    /// All keys and values as JSON lines.
    Export {
        /// Where they went; `None` is standard output.
        file: Option<PathBuf>,
        /// How many.
        keys: u64,
    },
}

/// A key in a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ListedKey {
    /// The key without the meta root.
    pub key: String,
    /// Size of its value.
    pub value_bytes: u64,
}

/// A key with its value.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ShownKey {
    /// The key without the meta root.
    pub key: String,
    /// The whole key.
    pub absolute_key: String,
    /// Size of its value.
    pub value_bytes: u64,
    /// What the value is: the name of a message, `JSON`, `text`.
    pub kind: &'static str,
    /// The value as lines of text.
    pub decoded: String,
}

/// What must not be overlooked when only a part of a damaged file is shown.
pub fn warning(outcome: &InspectOutcome) -> Option<String> {
    let file = &outcome.file;
    if file.sound {
        return None;
    }
    let lost = file
        .lost_keys
        .filter(|lost| *lost > 0)
        .map_or_else(String::new, |lost| format!(", {} could not", thousands(lost)));
    let trust = match file.keys {
        0 => "",
        _ if file.data_checksum_matches => "; what was read matches its checksum",
        _ => "; what was read may have changed too",
    };
    Some(format!(
        "{} IS DAMAGED: {} could be read{lost}{trust}. `rollback` refuses it: look for another copy",
        file.path.display(),
        many(file.keys, "key", "keys")
    ))
}

/// The outcome for people.
pub fn text(outcome: &InspectOutcome) -> String {
    match &outcome.view {
        View::Summary => summary(&outcome.file),
        View::List { prefix, keys } => list(prefix, keys),
        View::Against(against) => super::against::text(&outcome.file, against),
        View::Key { key, shown: None } => not_found(key, &outcome.file),
        View::Key { shown: Some(shown), .. } => {
            format!("{}\n{}, {}\n\n{}", shown.absolute_key, shown.kind, bytes(shown.value_bytes), shown.decoded)
        }
        View::Export { file, keys } => {
            let place = file.as_ref().map_or("standard output".into(), |file| file.display().to_string());
            format!("{} keys exported to {place}", thousands(*keys))
        }
    }
}

/// What to say when the key that was asked for is not there.
pub fn not_found(key: &str, file: &Examination) -> String {
    let readable = if file.sound { "" } else { " that can be read" };
    format!(
        "{key} is not among the {} keys{readable} in {}; --list shows them",
        thousands(file.keys),
        file.path.display()
    )
}

fn list(prefix: &str, keys: &[ListedKey]) -> String {
    let mut text = String::new();
    for key in keys {
        line(&mut text, format!("{:>9}  {}", key.value_bytes, key.key));
    }
    let total = keys.iter().map(|key| key.value_bytes).sum();
    let under = if prefix.is_empty() { String::new() } else { format!(" that begin with {prefix}") };
    line(&mut text, format!("{} keys{under}, {} in their values", thousands(keys.len() as u64), bytes(total)));
    text
}

fn summary(file: &Examination) -> String {
    let mut text = String::new();
    let verdict = if file.sound { "sound" } else { "DAMAGED" };
    line(&mut text, format!("{}: {}, {verdict}", file.path.display(), writer(file)));
    facts(&mut text, file);
    if file.while_running {
        let what = "WHILE MILVUS WAS RUNNING: a look at that moment. It is no way back, and `rollback` refuses it";
        fact(&mut text, "made", what);
    }
    line(&mut text, "\nchecks:");
    file.checks.iter().for_each(|check| line(&mut text, check_line(check)));
    damage(&mut text, file);
    line(&mut text, if file.sound { "\nkeys:" } else { "\nkeys that can be read:" });
    counts(&mut text, &file.counts);
    if file.counts.is_empty() {
        line(&mut text, "  none");
    }
    for note in &file.notes {
        line(&mut text, format!("\nnote: {note}"));
    }
    text
}

fn writer(file: &Examination) -> String {
    match (file.format, &file.manifest) {
        (FileFormat::MetaMigration, Some(manifest)) => format!("a backup of meta-migration {}", manifest.tool_version),
        (FileFormat::MetaMigration, None) => "a backup of this tool".into(),
        (FileFormat::Legacy, _) => "a backup of the original tool".into(),
        (FileFormat::BirdwatcherV1, _) => "a backup of Birdwatcher, version 1".into(),
        (FileFormat::BirdwatcherV2, _) => "a backup of Birdwatcher, version 2".into(),
    }
}

fn facts(text: &mut String, file: &Examination) {
    if let Some(manifest) = &file.manifest {
        manifest_facts(text, manifest);
    }
    match (&file.header, &file.manifest) {
        (Some(header), _) => fact(text, "meta root", &header.meta_root),
        (None, Some(manifest)) => fact(text, "meta root", &manifest.meta_root),
        (None, None) => fact(text, "meta root", "not known: the header cannot be read"),
    }
    let announced = match (&file.header, &file.manifest) {
        (Some(header), Some(manifest)) => {
            format!(" (header: {}, manifest: {})", header.entries, thousands(manifest.keys))
        }
        (Some(header), None) => format!(" (header: {})", header.entries),
        (None, Some(manifest)) => format!(" (manifest: {})", thousands(manifest.keys)),
        (None, None) => String::new(),
    };
    let readable = if file.sound { "" } else { " can be read" };
    fact(text, "keys", format!("{}{readable}{announced}", thousands(file.keys)));
    fact(text, "size", format!("{}, {} of data", bytes(file.file_bytes), bytes(file.data_bytes)));
}

fn manifest_facts(text: &mut String, manifest: &Manifest) {
    fact(text, "made", &manifest.created);
    fact(text, "etcd", format!("cluster {}, revision {}", manifest.etcd_cluster_id, manifest.etcd_revision));
    let version = manifest.source_version.as_deref().unwrap_or("not recorded");
    fact(text, "Milvus", format!("version {version}, layout {}", manifest.layout));
    fact(text, "SHA-256", &manifest.stream_sha256);
}

fn fact(text: &mut String, name: &str, value: impl AsRef<str>) {
    // Whatever a damaged file says: it stays on its line.
    line(text, format!("  {name:10} {}", printable(value.as_ref().as_bytes())));
}

fn check_line(check: &Check) -> String {
    let verdict = match check.verdict {
        Verdict::Sound => "ok",
        Verdict::Failed => "FAILED",
        Verdict::NotChecked => "?",
    };
    let detail = check.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
    format!("  {verdict:6}  {}{detail}", check.what)
}

fn damage(text: &mut String, file: &Examination) {
    if !file.damage.is_empty() {
        line(text, "\ndamage:");
    }
    file.damage.iter().for_each(|damage| line(text, damage_line(damage, file.format)));
    if file.further_damage > 0 {
        line(text, format!("  … and {} more", thousands(file.further_damage)));
    }
    match file.lost_keys {
        Some(0) | None => {}
        Some(lost) => {
            line(text, format!("\nlost: {}", many(lost, "key", "keys")));
            counts(text, &file.lost);
        }
    }
}

fn damage_line(damage: &Damage, format: FileFormat) -> String {
    let place = match damage.record {
        0 => "header".to_owned(),
        record => format!("record {}", thousands(record)),
    };
    let file = damage
        .file_offset
        .map_or_else(String::new, |offset| format!("; at or before byte {} of the file", thousands(offset)));
    // The records of the original tool are not compressed.
    let data = if format == FileFormat::Legacy { "file" } else { "data" };
    format!("  {place}, byte {} of the {data}{file}: {}", thousands(damage.data_offset), damage.what)
}

fn counts(text: &mut String, counts: &BTreeMap<String, u64>) {
    let width = counts.keys().map(String::len).max().unwrap_or_default();
    for (prefix, count) in counts {
        line(text, format!("  {prefix:width$}  {:>8}", thousands(*count)));
    }
}

fn line(text: &mut String, line: impl AsRef<str>) {
    if !text.is_empty() {
        text.push('\n');
    }
    // A String grows, so writing to it cannot fail.
    let _ = text.write_str(line.as_ref());
}
