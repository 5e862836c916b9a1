//! User and password for etcd.

use std::fmt;

use anyhow::{Result, anyhow};

use super::Overrides;
use super::yaml::{Document, Setting};

/// The environment variable that holds the password: a flag would show in the list of processes.
pub const PASSWORD_VARIABLE: &str = "META_MIGRATION_ETCD_PASSWORD";

/// Who to log in as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// The user's name, not empty.
    pub user: String,
    /// The user's password, not empty.
    pub password: Password,
}

/// A password, which prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself, for logging in with.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Auth {
    /// Puts the settings together; `None` if nobody is to log in.
    pub(super) fn assemble(document: &Document, given: &Overrides, warnings: &mut Vec<String>) -> Result<Option<Self>> {
        let enabled = document.boolean("etcd.auth.enabled")?.filter(|enabled| enabled.value);
        if given.user.is_none() && enabled.is_none() {
            if given.password.is_some() {
                warnings.push("a password for etcd is given but no user, so nobody logs in: give --user too".into());
            }
            return Ok(None);
        }
        let in_file = document.text("etcd.auth.userName")?;
        let user = match (&given.user, &in_file, &enabled) {
            (Some(user), ..) => Setting::given(user.clone(), "--user"),
            (None, Some(user), _) => user.clone(),
            (None, None, Some(enabled)) => {
                return Err(enabled.refuse("is true, but etcd.auth.userName is missing: set it, or --user"));
            }
            (None, None, None) => return Ok(None),
        };
        if user.value.is_empty() {
            return Err(user.refuse("is empty, expected the name of an etcd user"));
        }
        let password = match &given.password {
            Some(password) => Some(password.clone()),
            // The file's password is that of the file's user.
            None if in_file.is_some_and(|in_file| in_file.value == user.value) => {
                document.text("etcd.auth.password")?.map(|password| Password(password.value))
            }
            None => None,
        };
        let password = password.filter(|password| !password.0.is_empty()).ok_or_else(|| {
            anyhow!(
                "{}: the password is missing: set etcd.auth.password, {PASSWORD_VARIABLE} or --password-file",
                user.origin
            )
        })?;
        Ok(Some(Self { user: user.value, password }))
    }
}
