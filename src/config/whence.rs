//! Where that which tells clusters apart comes from, to be shown once by every command.

use std::fmt;

use serde::Serialize;

use super::{Config, Source};

/// Where each setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whence {
    /// `etcd.endpoints`
    pub endpoints: Source,
    /// `etcd.rootPath`
    pub root_path: Source,
    /// `etcd.metaSubPath`
    pub meta_sub_path: Source,
    /// `config.sourceVersion`, if there is one.
    pub source_version: Option<Source>,
    /// `config.targetVersion`, if there is one.
    pub target_version: Option<Source>,
    /// `config.backupFilePath`, if there is one.
    pub backup_file: Option<Source>,
}

/// One setting as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stated {
    /// What it is.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Where it comes from.
    pub source: String,
}

/// `etcd endpoints: http://a:2379 (variable ETCD_ENDPOINTS)`
impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.name, self.value, self.source)
    }
}

impl Config {
    /// Which etcd, which root, which versions and which backup are meant, each with the place that says so. No secrets.
    pub fn stated(&self) -> Vec<Stated> {
        let whence = &self.whence;
        let stated = |name, value: String, source: &Source| Stated { name, value, source: source.in_words() };
        let endpoints: Vec<_> = self.etcd.endpoints.iter().map(|endpoint| endpoint.uri.as_str()).collect();
        let mut settings = vec![
            stated("etcd endpoints", endpoints.join(", "), &whence.endpoints),
            stated("root path", self.meta_root.root_path().to_owned(), &whence.root_path),
            stated("meta sub path", self.meta_root.meta_sub_path().to_owned(), &whence.meta_sub_path),
        ];
        let backup = self.backup_file.as_ref().map(|file| super::input_files::shown(file));
        let source = self.source_version.as_ref().map(ToString::to_string);
        let target = self.target_version.as_ref().map(ToString::to_string);
        for (name, value, source) in [
            ("source version", source, &whence.source_version),
            ("target version", target, &whence.target_version),
            ("backup file", backup, &whence.backup_file),
        ] {
            if let (Some(value), Some(source)) = (value, source) {
                settings.push(stated(name, value, source));
            }
        }
        settings
    }

    /// The same in one line, for the log.
    pub fn stated_in_words(&self) -> String {
        self.stated().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}
