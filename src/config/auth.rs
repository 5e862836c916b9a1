//! User and password for etcd.

use std::fmt;

use anyhow::{Result, anyhow};

use super::layers::{Layers, differ};
use super::source::Setting;
use super::{Overrides, Source};

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
    pub(super) fn assemble(layers: &Layers, given: &Overrides, warnings: &mut Vec<String>) -> Result<Option<Self>> {
        let switch = layers.boolean("etcd.auth.enabled", None)?;
        let given_user = given.setting(given.user.as_ref(), "--user", "META_MIGRATION_ETCD_USER");
        refuse_user_where_milvus_has_none(layers, given_user.as_ref())?;
        let enabled = switch.filter(|enabled| enabled.value);
        if given_user.is_none() && enabled.is_none() {
            if given.password.is_some() {
                warnings.push("a password for etcd is given but no user, so nobody logs in: give --user too".into());
            }
            return Ok(None);
        }
        let in_file = layers.text("etcd.auth.userName", None)?;
        let user = match (layers.text("etcd.auth.userName", given_user)?, &enabled) {
            (Some(user), _) => user,
            (None, Some(enabled)) => {
                return Err(enabled.refuse("is true, but etcd.auth.userName is missing: set it, or --user"));
            }
            (None, None) => return Ok(None),
        };
        if user.value.is_empty() {
            return Err(user.refuse("is empty, expected the name of an etcd user"));
        }
        // The file's password is that of the file's user.
        let is_user_of_file = in_file.is_some_and(|in_file| in_file.value == user.value);
        let password = match given_password(given) {
            None if !is_user_of_file => None,
            password => layers.secret("etcd.auth.password", password)?,
        };
        let password = password.filter(|password| !password.value.is_empty()).ok_or_else(|| {
            anyhow!(
                "{}: the password is missing: set etcd.auth.password, {PASSWORD_VARIABLE} or --password-file",
                user.source
            )
        })?;
        Ok(Some(Self { user: user.value, password: Password(password.value) }))
    }
}

fn given_password(given: &Overrides) -> Option<Setting<String>> {
    let source = match given.from_variables.contains(PASSWORD_VARIABLE) {
        true => Source::Variable(PASSWORD_VARIABLE),
        false => Source::Flag("--password-file"),
    };
    given.password.as_ref().map(|password| Setting::new(password.0.clone(), source))
}

/// A user says that one logs in; if Milvus does not, it is perhaps another etcd.
fn refuse_user_where_milvus_has_none(layers: &Layers, given: Option<&Setting<String>>) -> Result<()> {
    let of_milvus = layers.of_milvus(|document| document.boolean("etcd.auth.enabled"))?;
    match (given, of_milvus) {
        (Some(user), Some(milvus)) if !milvus.value => {
            Err(differ((user, &format!("the user {}", super::source::quoted(&user.value))), (&milvus, "false")))
        }
        _ => Ok(()),
    }
}
