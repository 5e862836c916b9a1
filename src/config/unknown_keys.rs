//! Keys that nobody knows: a misspelt one would otherwise be a setting that silently does not hold.

use anyhow::{Result, bail};

use super::yaml::Document;

/// The keys of the original tool, and ours. Everything else in the file is Milvus's, which has far more keys than we could know.
const KNOWN: [&str; 6] = [
    "cmd.type",
    "cmd.runWithBackup",
    "cmd.skipInvalid",
    "config.sourceVersion",
    "config.targetVersion",
    "config.backupFilePath",
];
/// The sections that tell which cluster is meant and what is done. Milvus has no other whose name is a letter away from one of these.
const SECTIONS: [&str; 4] = ["cmd", "config", "etcd", "metastore"];
/// How alike two names must be for one to be a slip of the other; 1 is the same.
const ALIKE: f64 = 0.75;

/// Refuses keys under `cmd` and `config` that mean nothing.
///
/// # Errors
/// There is such a key; the error names it, its line and the nearest key that is known.
pub(super) fn refuse_unknown_keys(document: &Document) -> Result<()> {
    for (key, place) in document.keys_under(&["cmd", "config"])? {
        if !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(&key)) {
            bail!("{place}: this key is not known, so it would do nothing: {}", advice(&key, &KNOWN));
        }
    }
    for (key, place) in document.sections() {
        let slip = |section: &&&str| strsim::osa_distance(&key.to_lowercase(), section) == 1;
        if let Some(section) = SECTIONS.iter().find(slip) {
            bail!(
                "{place}: this section is not known, so nothing in it would hold: did you mean {section}? Correct it or take it out"
            );
        }
    }
    Ok(())
}

/// What somebody may have meant who wrote `typed`.
pub fn advice(typed: &str, known: &[&str]) -> String {
    match nearest(typed, known) {
        Some(nearest) => format!("did you mean {nearest}? Correct it or take it out"),
        None => format!("correct it or take it out; known are {}", known.join(", ")),
    }
}

/// The name that is most like `typed`, if there is one that can be meant.
fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    // What all names begin with tells nothing about which of them is meant.
    let shared = known.iter().copied().reduce(shared_start).unwrap_or_default();
    let last_word = |name: &str| name.rsplit_once('.').map_or(name, |(_, last)| last).to_lowercase();
    let bare = |name: &str| last_word(name.strip_prefix(shared).unwrap_or(name));
    let likeness = |name: &&str| likeness(&bare(name), &bare(typed));
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= ALIKE).then_some(best)
}

/// 1 for the same. A name in which a part was forgotten is as like as one with a letter wrong.
fn likeness(a: &str, b: &str) -> f64 {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    let is_part = short.len() > 3 && long.contains(short);
    let as_part = if is_part { ALIKE + (1.0 - ALIKE) * short.len() as f64 / long.len() as f64 } else { 0.0 };
    strsim::jaro_winkler(a, b).max(as_part)
}

fn shared_start<'a>(a: &'a str, b: &str) -> &'a str {
    let length = a.char_indices().zip(b.chars()).take_while(|((_, a), b)| a == b).count();
    // As many characters of `a` as are the same; their end is where the next one begins.
    a.char_indices().nth(length).map_or(a, |(end, _)| &a[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(yaml: &str) -> Option<String> {
        let document = Document::parse("f.yaml", yaml).unwrap();
        refuse_unknown_keys(&document).err().map(|error| error.to_string())
    }

    #[test]
    fn a_slip_in_the_name_of_a_section_is_refused() {
        for (yaml, section) in
            [("etc: {endpoints: x}", "etcd"), ("Etdc.rootPath: x", "etcd"), ("configs: {}", "config")]
        {
            let refusal = refusal(yaml).unwrap();
            assert!(refusal.contains(&format!("did you mean {section}?")), "{refusal}");
        }
        // Of Milvus's own.
        let milvus = "mq: {}\nlog: {}\nproxy: {}\ncommon: {}\nminio: {}\nnatsmq: {}\nrocksmq: {}\ngpu: {}\ngrpc: {}\ntrace: {}\ntikv: {}";
        assert_eq!(refusal(milvus), None);
    }

    #[test]
    fn all_keys_of_the_original_tool_and_those_of_milvus_are_taken() {
        for yaml in [
            "cmd: {type: run, runWithBackup: true, skipInvalid: true}",
            "config: {sourceVersion: 2.1.4, targetVersion: 2.2.0, backupFilePath: /b}",
            "CMD: {TYPE: run}\nConfig: {sourceversion: 2.1.4}",
            "cmd.type: run\nconfig.backupFilePath: /b",
            "cmd:\nconfig: ~",
            "common: {config: 1}\nconfigurations: {x: 1}\netcd: {anything: 1}\nrootCoord.cmd: 1",
        ] {
            assert_eq!(refusal(yaml), None, "{yaml}");
        }
    }

    #[test]
    fn a_slip_is_named_with_its_line_and_the_nearest_key() {
        for (yaml, place, nearest) in [
            ("config:\n  backupFile: /b", "f.yaml:2: config.backupFile: ", "config.backupFilePath?"),
            ("config: {backupPath: /b}", "f.yaml:1: config.backupPath: ", "config.backupFilePath?"),
            ("config: {backup_file_path: /b}", "f.yaml:1: config.backup_file_path: ", "config.backupFilePath?"),
            ("config: {backupFile: }", "f.yaml:1: config.backupFile: ", "config.backupFilePath?"),
            ("config.sourceversoin: 2.1.4", "f.yaml:1: config.sourceversoin: ", "config.sourceVersion?"),
            ("cmd: {typ: run}", "f.yaml:1: cmd.typ: ", "cmd.type?"),
            ("cmd: {runWithBackups: true}", "f.yaml:1: cmd.runWithBackups: ", "cmd.runWithBackup?"),
            ("Cmd: {backup: true}", "f.yaml:1: Cmd.backup: ", "config.backupFilePath?"),
            ("cmd: {type: run}\ncmd: {sourceVersion: 2.1.4}", "f.yaml:2: cmd.sourceVersion: ", "config.sourceVersion?"),
        ] {
            let error = refusal(yaml).unwrap_or_else(|| panic!("{yaml} is taken"));
            assert!(error.starts_with(place) && error.contains(nearest), "{yaml}: {error}");
        }
    }

    #[test]
    fn where_nothing_is_near_all_that_is_known_is_listed() {
        let error = refusal("config: {zzz: 1}").unwrap();
        assert!(error.contains("known are cmd.type, cmd.runWithBackup"), "{error}");
    }
}
