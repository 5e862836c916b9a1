//! Whether a backup file is THE way back: sound, of this etcd and meta root, and holding just what is in etcd now.

use std::path::{self, Path};

use anyhow::{Result, bail};
use semver::Version;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::metadata::Reading;
use super::work_out::Worked;
use super::{Context, describe, refusal};
use crate::amounts::{many, span, thousands};
use crate::backup::content::Content;
use crate::backup::{Backup, Format};
use crate::etcd::Etcd;
use crate::garbage::{self, Keeping, KeepingFound};
use crate::history::{BackupRecord, History, this_host};
use crate::outcome::going_back::WayBack;
use crate::outcome::surveyed::ConfiguredBackup;
use crate::outcome::{Next, Step};

/// Says what to do where a backup is no way back.
const REMEDY: &str = "make one with `backup` or `run --with-backup`, correct config.backupFilePath (is the volume mounted?), or go on \
                      without a way back on purpose with --no-backup";

impl Context {
    /// Reads the backup that is to be the way back, and holds it against what was read.
    pub(super) fn fitting_backup(&self, file: &Path, cluster_id: u64, found: &Content) -> Result<Backup> {
        let checked = self.read_content(file).and_then(|(backup, content)| {
            self.same_place(&backup, cluster_id)?;
            if content != *found {
                // A backup that was made while Milvus was running is one only if nothing has changed since: then it is as good as any.
                let made = if backup.while_running { "while Milvus was running, " } else { "" };
                bail!(
                    "{} does not hold what is in etcd now: {} keys in the backup, {} in etcd, and not the same. It was made {made}before a \
                     change, or of another Milvus: rolling back to it would lose what changed since",
                    file.display(),
                    thousands(content.keys()),
                    thousands(found.keys())
                );
            }
            Ok(backup)
        });
        checked.map_err(|error| {
            refusal(format!("there is no way back from here: {error:#}"), Next::new(Step::Backup, REMEDY))
        })
    }

    /// The backup from before an interrupted run that stands at `file`: the one that is on record.
    pub(super) fn recorded_backup(&self, file: &Path, history: &History) -> Result<BackupRecord> {
        let backup = Backup::check(file)?;
        let found = record_of(&backup);
        if let Some(recorded) = &history.backup
            && recorded.sha256 != found.sha256
        {
            bail!(
                "{} is not the backup that this {} began with, which is {recorded}: look for that one",
                file.display(),
                history.operation.command(),
            );
        }
        if backup.meta_root != self.config.meta_root.to_string() {
            bail!(
                "{} is a backup of the meta root {}, not of {}",
                file.display(),
                backup.meta_root,
                self.config.meta_root
            );
        }
        Ok(found)
    }

    fn read_content(&self, file: &Path) -> Result<(Backup, Content)> {
        let mut content = Content::default();
        let backup = Backup::read(file, |key, value| content.add(key, value))?;
        Ok((backup, content))
    }

    fn same_place(&self, backup: &Backup, cluster_id: u64) -> Result<()> {
        if backup.meta_root != self.config.meta_root.to_string() {
            bail!(
                "{} is a backup of the meta root {}, not of {}",
                backup.path.display(),
                backup.meta_root,
                self.config.meta_root
            );
        }
        other_cluster(backup, cluster_id).map_or(Ok(()), |what| bail!("{what}"))
    }

    /// What it takes to go back from a migration, and until when that is open.
    pub(super) async fn going_back(
        &self,
        reading: &Reading,
        worked: &Worked,
        target: &Version,
        etcd: Option<&Etcd>,
    ) -> WayBack {
        let handed_over: usize = worked.summary.report.rebuilt.iter().map(|index| index.builds.len()).sum();
        let until = match handed_over {
            0 => garbage::ROWS_GO.to_owned(),
            builds => format!(
                "{} for {} (`rollback --rebuild-handed-over` has 2.1 build again what was handed over); {} for rows",
                garbage::index_files_go(target),
                many(builds, "index build that is handed over", "index builds that are handed over"),
                garbage::ROWS_GO
            ),
        };
        WayBack {
            room: match etcd {
                Some(etcd) => Some(self.room_in_words(etcd, &worked.plan, &worked.back(&reading.records)).await),
                None => None,
            },
            files: "`check-files` looks now whether all that the metadata names are there, `rollback --check-files` before it goes back"
                .to_owned(),
            message_log: self.config.message_log.before(target),
            until,
            keeping: self.kept(target),
        }
    }

    /// The settings that keep the way back open, as Milvus's own configuration has them.
    fn kept(&self, target: &Version) -> Vec<KeepingFound> {
        let said = self.config.keeping.as_ref();
        let kept = |setting: Keeping| {
            let configured = said.and_then(|said| said.get(setting.key)).cloned();
            let holds = said.map(|_| setting.is_met_by(configured.as_deref().unwrap_or(setting.default)));
            KeepingFound { setting, configured, holds }
        };
        garbage::keeping(target).into_iter().map(kept).collect()
    }

    /// Whether the configured backup is the way back from what is there.
    pub(super) fn configured_backup(&self, reading: &Reading, history: Option<&History>) -> Option<ConfiguredBackup> {
        let file = self.config.backup_file.as_ref()?;
        let (is_way_back, text) = self.judge_backup(file, reading, history);
        Some(ConfiguredBackup { path: file.display().to_string(), is_way_back, text })
    }

    /// Whether the backup on record is not where it is looked for: where it is configured, or else where this very machine put it.
    pub(super) fn is_way_back_away(&self, history: Option<&History>) -> bool {
        let Some((history, recorded)) = history.and_then(|history| Some((history, history.backup.as_ref()?))) else {
            return false;
        };
        match &self.config.backup_file {
            Some(file) => !file.exists(),
            None => history.host == this_host() && !Path::new(&recorded.file).exists(),
        }
    }

    fn judge_backup(&self, file: &Path, reading: &Reading, history: Option<&History>) -> (bool, String) {
        let shown = file.display();
        if !file.exists() {
            let recorded = history.and_then(|history| history.backup.as_ref());
            let text = recorded.map_or_else(
                || format!("{shown} does not exist yet"),
                |recorded| format!("{shown} is NOT THERE; the way back on record is {recorded}"),
            );
            return (false, text);
        }
        if let Some(history) = history {
            if history.backup.is_none() {
                let why = "no backup is on record, as it was done without one";
                return (false, format!("{why}: {shown} was made at another time"));
            }
            return match self.recorded_backup(file, history) {
                Ok(found) if found.cluster_id.as_ref().is_some_and(|id| *id != format!("{:x}", reading.cluster_id)) => {
                    let id = "etcd has another cluster ID since (restored?), so `rollback` wants --other-cluster";
                    (true, format!("{shown} is the way back that is on record; {id}"))
                }
                Ok(_) => (true, format!("{shown} is the way back that is on record")),
                Err(error) => (false, format!("NOT the way back: {error:#}")),
            };
        }
        let judged = self.read_content(file).and_then(|(backup, content)| {
            self.same_place(&backup, reading.cluster_id)?;
            let age = age(&backup).map_or_else(String::new, |age| format!(" ({age} ago)"));
            Ok((format!("{}{age}", describe(&backup)), content))
        });
        match judged {
            Ok((what, content)) if content == reading.content => {
                (true, format!("{shown} holds just what is here: {what}"))
            }
            Ok((what, _)) => (false, format!("{shown} does NOT hold what is here now: {what}")),
            Err(error) => (false, format!("NOT a way back from here: {error:#}")),
        }
    }
}

/// How a backup is of another etcd cluster, if it is known to be.
pub(super) fn other_cluster(backup: &Backup, cluster_id: u64) -> Option<String> {
    let Format::Ours(manifest) = &backup.format else { return None };
    let made_from = &manifest.etcd_cluster_id;
    (*made_from != format!("{cluster_id:x}")).then(|| {
        format!(
            "{} was made from the etcd cluster {made_from}, but this is {cluster_id:x}: another etcd, or this one was restored \
             meanwhile, which gives it a new ID",
            backup.path.display()
        )
    })
}

/// How old a backup is.
fn age(backup: &Backup) -> Option<String> {
    let Format::Ours(manifest) = &backup.format else { return None };
    seconds_since(&manifest.created).map(span)
}

/// Seconds since a time in RFC 3339; none where it is not one, or is still to come.
pub(super) fn seconds_since(time: &str) -> Option<u64> {
    let then = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    u64::try_from((OffsetDateTime::now_utc() - then).whole_seconds()).ok()
}

/// Before the new Milvus is started, the way back is to be found again.
pub(super) fn find_it_first(next: &Next) -> Next {
    let first = "find the backup that is on record before the new Milvus is started: it is the way back. Then";
    Next::new(next.code, format!("{first} {}", next.text))
}

/// The path of a file from the top, for whoever comes later and works in another folder.
pub(super) fn whole_path(file: &Path) -> String {
    // Where the working folder is gone, the path as it was given is all there is.
    path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

/// What goes into the history key.
pub(super) fn record_of(backup: &Backup) -> BackupRecord {
    let file = whole_path(&backup.path);
    match &backup.format {
        Format::Ours(manifest) => BackupRecord {
            file,
            sha256: Some(manifest.stream_sha256.clone()),
            revision: Some(manifest.etcd_revision),
            cluster_id: Some(manifest.etcd_cluster_id.clone()),
        },
        Format::Legacy => BackupRecord { file, sha256: None, revision: None, cluster_id: None },
    }
}
