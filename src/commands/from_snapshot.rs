//! `plan --from-snapshot`: from a file of `etcdctl snapshot save`, which has every key of an etcd. Which of them are meant is never guessed.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::Context;
use super::metadata::Reading;
use super::plan::PlannedFrom;
use super::roots::root_of;
use crate::catalog::records::Records;
use crate::config::Source;
use crate::etcd::saved::Saved;
use crate::layout::keys::{MIGRATION_SESSION, SESSION_ID_COUNTER, SESSIONS, printable};

const MIB: u64 = 1 << 20;

pub(super) fn from_snapshot(context: &Context, file: &Path) -> Result<PlannedFrom> {
    let root = context.config.meta_root.to_string();
    context.say(format!("reading the etcd snapshot {}, meta root {root}", file.display()));
    context.say(context.config.stated_in_words());
    // Once for its checksum, once for its keys.
    let size = fs::metadata(file).map_or(0, |told| told.len());
    let bar = context.progress.reading_file("reading the snapshot", 2 * size / MIB);
    let mut read = 0;
    let go_on = |bytes: u64| -> Result<()> {
        context.stop.check()?;
        read += bytes;
        bar.read(read / MIB, read / MIB);
        read %= MIB;
        Ok(())
    };
    let saved = Saved::read(file, context.root.as_bytes(), root_of, go_on)
        .with_context(|| format!("cannot plan from {}", file.display()))?;
    bar.finish();
    judge_root(context, file, &saved)?;
    let mut records = Records::default();
    let mut registered = Vec::new();
    for (key, entry) in &saved.entries {
        let key = key.slice(context.root.len()..);
        if key.starts_with(SESSIONS.as_bytes()) && key != SESSION_ID_COUNTER && key != MIGRATION_SESSION {
            registered.push(printable(&key[SESSIONS.len()..]));
        }
        records.add(key, entry.value.clone());
    }
    let mut notes = Vec::new();
    if !registered.is_empty() {
        notes.push(format!(
            "Milvus was running when the snapshot was taken ({}): what it has changed since is not in this plan. Stop it before `backup` \
             and `run`, and plan once more then",
            registered.join(", ")
        ));
    }
    notes.push(
        "a snapshot tells neither what the etcd has room for, nor what its users may write: `plan` against the etcd looks at that".to_owned(),
    );
    // The cluster ID stands in the members' logs, not in the database.
    let reading = Reading::of_file(records, saved.revision);
    let name = format!("etcd snapshot {}", file.display());
    Ok(PlannedFrom { name, meta_root: root, reading, sessions: Vec::new(), etcd: None, notes })
}

/// Several Milvus can share an etcd: which is meant has to be said, and it has to be there.
fn judge_root(context: &Context, file: &Path, saved: &Saved) -> Result<()> {
    let root = &context.config.meta_root;
    let others = saved.elsewhere.keys().cloned().collect::<Vec<_>>().join(", ");
    let is_there = saved.entries.keys().any(|key| !key[context.root.len()..].starts_with(SESSIONS.as_bytes()));
    let remedy = "say which is meant with --root-path and --meta-sub-path (etcd.rootPath, etcd.metaSubPath)";
    match (is_there, others.is_empty()) {
        (false, true) => bail!(
            "there is no metadata under {root} in {}, and nothing else in it looks like Milvus: is it of the right etcd?",
            file.display()
        ),
        (false, false) => {
            bail!("there is no metadata under {root} in {}. These look like Milvus: {others}: {remedy}", file.display())
        }
        (true, false) if is_by_default(context) => bail!(
            "there are several Milvus in {}, and nobody has said that {root} is meant; it is only the default. Beside it: {others}: {remedy}",
            file.display()
        ),
        (true, _) => Ok(()),
    }
}

/// Whether the whole root is what is taken where nobody says anything.
fn is_by_default(context: &Context) -> bool {
    let whence = &context.config.whence;
    [&whence.root_path, &whence.meta_sub_path].iter().all(|source| matches!(source, Source::Default(_)))
}
