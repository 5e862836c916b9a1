//! What a man page has beyond the flags: exit status, environment, files, examples. The examples stand in `--help` too.

use clap::Command;
use roff::{Inline, Roff, bold, roman};

use crate::config::{PASSWORD_VARIABLE, SECRET_VARIABLE};

/// A thing and what it is.
type Entry = (String, String);

/// How a command is typed, and what for. The empty name is the tool itself.
pub(super) fn examples(command: &str) -> &'static [(&'static str, &'static str)] {
    match command {
        "" => &[
            ("meta-migration status --endpoints etcd:2379", "What there is, and what to do next"),
            ("meta-migration -config=/milvus/configs/migration.yaml", "What cmd.type in the file says"),
        ],
        "status" => &[
            ("meta-migration status --endpoints etcd-0:2379,etcd-1:2379", "Look, and write nothing"),
            ("meta-migration --config migration.yaml status --output json", "The same for a script"),
        ],
        "plan" => &[
            (
                "meta-migration plan --source-version 2.1.4 --target-version 2.4.24 --endpoints etcd:2379",
                "What run would do",
            ),
            (
                "meta-migration --config migration.yaml plan --from-backup --backup-file copy.bak",
                "The same without any etcd, out of a backup",
            ),
            ("meta-migration --config migration.yaml plan --detailed-exitcode", "2 where there is something to do"),
        ],
        "backup" => {
            &[("meta-migration --config migration.yaml backup --backup-file /backup/m.bak", "Milvus is stopped")]
        }
        "run" => &[
            ("meta-migration --config migration.yaml run --with-backup", "Write a backup, then migrate"),
            (
                "meta-migration --config migration.yaml run --wait-for-sessions 5m",
                "Wait until the last component of Milvus has stopped",
            ),
        ],
        "upgrade" => &[
            ("meta-migration --config migration.yaml upgrade", "Wait until Milvus has stopped, then all of it"),
            ("meta-migration --config migration.yaml upgrade --wait-for-sessions 40m", "Wait for a slow handover, too"),
        ],
        "repair" => &[
            ("meta-migration --config migration.yaml repair --dry-run", "What it would do"),
            ("meta-migration --config migration.yaml repair --with-backup", "Write a backup, then repair"),
        ],
        "rollback" => &[
            ("meta-migration --config migration.yaml rollback --backup-file /backup/m.bak", "Milvus is stopped"),
            (
                "meta-migration --config migration.yaml --milvus-config milvus.yaml rollback --check-files",
                "Look first whether the files of 2.1 are still there",
            ),
        ],
        "check-files" => &[
            (
                "meta-migration --config migration.yaml --milvus-config milvus.yaml check-files",
                "Of the metadata that is in etcd",
            ),
            (
                "meta-migration check-files --from-backup --backup-file /backup/m.bak --storage-dir /var/lib/milvus/data",
                "Of a backup file, in a local directory",
            ),
        ],
        "verify" => &[
            ("meta-migration --config migration.yaml verify", "Before the new Milvus is started"),
            (
                "meta-migration --config migration.yaml verify --against-backup --backup-file /backup/m.bak",
                "Value by value what the migration of this backup gives",
            ),
        ],
        "inspect" => &[
            ("meta-migration inspect /backup/m.bak", "Whether it is sound, and what is in it"),
            ("meta-migration inspect /backup/m.bak --list root-coord/", "Keys with their sizes"),
            ("meta-migration inspect /backup/m.bak --export . --output json", "Everything as JSON lines"),
        ],
        "completions" => &[(
            "meta-migration completions bash > /etc/bash_completion.d/meta-migration",
            "Completions for every bash of this machine",
        )],
        "man" => &[
            ("meta-migration man run | man -l -", "Read the page of run"),
            ("meta-migration man --dir /usr/local/share/man/man1", "Install all pages"),
        ],
        _ => &[],
    }
}

/// The examples as `--help` shows them at its end.
pub(super) fn examples_in_help(command: &str) -> String {
    let lines = examples(command).iter().map(|(line, what)| format!("  {what}:\n    {line}"));
    format!("Examples:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// The sections that follow the flags of a command on its page. The empty name is the tool itself.
pub(super) fn sections(name: &str, command: &Command) -> Roff {
    let mut page = Roff::default();
    section(&mut page, "EXIT STATUS", &exit_status(name));
    section(&mut page, "ENVIRONMENT", &environment(command));
    section(&mut page, "FILES", &files(name));
    page.control("SH", ["EXAMPLES"]);
    for (line, what) in examples(name) {
        page.control("TP", []).text([roman(format!("{what}:"))]).text([bold(*line)]);
    }
    page
}

fn section(page: &mut Roff, title: &str, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    page.control("SH", [title]);
    for (what, meaning) in entries {
        let text: Vec<Inline> = vec![roman(meaning.as_str())];
        page.control("TP", []).text([bold(what.as_str())]).text(text);
    }
}

fn exit_status(name: &str) -> Vec<Entry> {
    let changes_metadata = ["", "run", "upgrade", "repair", "rollback", "backup"].contains(&name);
    let zero = match name {
        "verify" => "Milvus can be started on the metadata",
        "check-files" => "all files are there",
        "inspect" => "the file is sound",
        "plan" => "run would go through, or find nothing to do; with --detailed-exitcode: nothing to do",
        _ => "done, or nothing to do",
    };
    let one = match name {
        "verify" => "Milvus must not be started on it, or it could not be verified",
        "check-files" => "files are missing or empty, or it could not be looked for them",
        "inspect" => "the file is damaged, or cannot be read",
        "plan" => "run would refuse, or it could not be planned",
        _ => "refused or failed, and no metadata was written; bad usage too",
    };
    let two = match name {
        "plan" => Some("with --detailed-exitcode: there is something to do"),
        _ if changes_metadata => Some(
            "failed after a backup was finished or writing had begun: run it again, or roll back; status has the way on",
        ),
        _ => None,
    };
    let codes = [("0", Some(zero)), ("1", Some(one)), ("2", two), ("100", Some("a defect of the tool"))];
    let entry = |(code, meaning): (&str, Option<&str>)| Some((code.to_owned(), meaning?.to_owned()));
    codes.into_iter().filter_map(entry).collect()
}

fn environment(command: &Command) -> Vec<Entry> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let mut variables: Vec<Entry> = shown
        .filter_map(|arg| {
            let (variable, flag) = (arg.get_env()?.to_string_lossy().into_owned(), arg.get_long()?);
            Some((variable, format!("in place of --{flag}")))
        })
        .collect();
    if variables.iter().any(|(name, _)| name == "ETCD_ENDPOINTS") {
        variables.push((PASSWORD_VARIABLE.to_owned(), "the password of the etcd user".to_owned()));
    }
    if variables.iter().any(|(name, _)| name == "META_MIGRATION_STORAGE_ADDRESS") {
        variables.push((SECRET_VARIABLE.to_owned(), "the secret key of the object storage".to_owned()));
    }
    if !variables.is_empty() {
        variables.push((
            "META_MIGRATION_LOG".to_owned(),
            "which log lines are written, such as warn or meta_migration=debug".to_owned(),
        ));
        variables.push(("NO_COLOR".to_owned(), "no colours on a terminal, if set to anything".to_owned()));
    }
    variables
}

fn files(name: &str) -> Vec<Entry> {
    let config = ("migration.yaml", "the file of --config: Milvus's own keys for etcd, with cmd and config added");
    let backup =
        ("migration.bak", "the file of --backup-file; one that is there already is moved aside, to migration.bak.1");
    let copy = (
        "migration.bak.before-rollback-TIME",
        "what a rollback overwrites is saved there, beside the backup, unless --no-copy is given",
    );
    let files: &[(&str, &str)] = match name {
        "completions" | "man" => &[],
        "inspect" => &[("migration.bak", "the file to look into")],
        "" | "rollback" => &[config, backup, copy],
        _ => &[config, backup],
    };
    files.iter().map(|(file, what)| ((*file).to_owned(), (*what).to_owned())).collect()
}
