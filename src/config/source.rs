//! Where a setting comes from: for errors, and so that a person can see why the tool does what it does.

use std::fmt;

use anyhow::anyhow;

/// The place that says a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag, like `--root-path`.
    Flag(&'static str),
    /// An environment variable.
    Variable(&'static str),
    /// A key in a configuration file.
    File {
        /// The file, as messages show it.
        file: String,
        /// The line of the value.
        line: usize,
        /// The key, with dots.
        key: String,
    },
    /// Nothing says it; this is the key that could.
    Default(&'static str),
}

impl Source {
    /// For a person who asks why: `flag --root-path`, `variable ETCD_ENDPOINTS`, `migration.yaml:3: etcd.rootPath`, `default`.
    pub fn in_words(&self) -> String {
        match self {
            Self::Flag(flag) => format!("flag {flag}"),
            Self::Variable(name) => format!("variable {name}"),
            Self::File { .. } => self.to_string(),
            Self::Default(_) => "default".to_owned(),
        }
    }
}

/// What errors begin with.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) | Self::Default(name) => f.write_str(name),
            Self::File { file, line, key } => write!(f, "{file}:{line}: {key}"),
        }
    }
}

/// A value, and the place that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// What was said.
    pub value: T,
    /// Where.
    pub source: Source,
}

impl<T> Setting<T> {
    /// A value with its source.
    pub fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }

    /// The error that names this setting.
    pub fn refuse(&self, reason: impl fmt::Display) -> anyhow::Error {
        anyhow!("{}: {reason}", self.source)
    }

    /// The same place, with what its value means.
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: read(self.value), source: self.source }
    }
}

/// A text as errors show it: on one line, and not all of it if it is long.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
