//! Environment variables: which ones there are, and that none is misspelt.

use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::{Args, Command};

use super::Common;
use crate::config::{PASSWORD_VARIABLE, SECRET_VARIABLE, advice_on_unknown};

/// What all our variables begin with, [`ENDPOINTS_VARIABLE`] aside.
const PREFIX: &str = "META_MIGRATION_";
/// As in Milvus.
const ENDPOINTS_VARIABLE: &str = "ETCD_ENDPOINTS";
/// Which log lines are written, in the language of tracing's `EnvFilter`; for whoever looks for a fault in the tool.
const LOG_VARIABLE: &str = "META_MIGRATION_LOG";
/// Tells the scripts of this repository which program to try. The program itself overlooks it.
const SCRIPTS_VARIABLE: &str = "META_MIGRATION_BIN";

/// Refuses variables that look like ours and mean nothing: a setting that silently does not hold.
///
/// # Errors
/// There is such a variable; the error names it and the nearest one that is known.
pub(super) fn refuse_unknown(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<()> {
    let known = variables_with_meaning();
    let known: Vec<&str> = known.iter().map(String::as_str).filter(|name| name.starts_with(PREFIX)).collect();
    for (name, value) in variables {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        let is_ours = name.starts_with(PREFIX) && !is_of_kubernetes(&name, &value);
        if is_ours && name != SCRIPTS_VARIABLE && !known.contains(&&*name) {
            // The one of ours that begins otherwise: Milvus's own name for it.
            let advice = match name.contains("ENDPOINT") {
                true => format!("did you mean {ENDPOINTS_VARIABLE}? Correct it or take it out"),
                false => advice_on_unknown(&name, &known),
            };
            bail!("the environment variable {} is not known, so it would do nothing: {advice}", name.escape_debug());
        }
    }
    Ok(())
}

/// All variables that mean something.
fn variables_with_meaning() -> Vec<String> {
    let common = Common::augment_args(Command::new("common"));
    let of_flags = common.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned()));
    of_flags.chain([PASSWORD_VARIABLE, SECRET_VARIABLE, LOG_VARIABLE].map(str::to_owned)).collect()
}

/// Kubernetes describes every Service of a namespace to its pods: one called `meta-migration` or `meta-migration-x` makes
/// `META_MIGRATION_SERVICE_HOST`, `META_MIGRATION_X_PORT_80_TCP` and the like.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let words: Vec<_> = name.split('_').collect();
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_protocol = |text: &str| matches!(text, "TCP" | "UDP" | "SCTP");
    match words.as_slice() {
        [.., "SERVICE", "HOST"] => !value.is_empty(),
        [.., "SERVICE", "PORT"] => is_port(value),
        [.., "PORT", port, protocol, "PROTO" | "PORT" | "ADDR"] | [.., "PORT", port, protocol]
            if is_port(port) && is_protocol(protocol) =>
        {
            true
        }
        [.., "PORT"] => is_url,
        words => words.windows(2).any(|pair| pair == ["SERVICE", "PORT"]) && is_port(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, value: &str) -> Option<String> {
        refuse_unknown([(name.into(), value.into())]).err().map(|error| error.to_string())
    }

    #[test]
    fn every_variable_that_is_documented_is_known() {
        for name in [
            "META_MIGRATION_CONFIG",
            "META_MIGRATION_MILVUS_CONFIG",
            "META_MIGRATION_BACKUP_FILE",
            "META_MIGRATION_ETCD_PASSWORD",
            "META_MIGRATION_STORAGE_SECRET_KEY",
            "META_MIGRATION_STORAGE_ADDRESS",
            "META_MIGRATION_LOG",
            "META_MIGRATION_BIN",
            "ETCD_ENDPOINTS",
            "ETCD_NAME",
            "MILVUS_META_MIGRATION_X",
        ] {
            assert_eq!(refusal(name, "x"), None, "{name}");
        }
    }

    #[test]
    fn a_slip_is_named_with_the_nearest_variable() {
        for (name, nearest) in [
            ("META_MIGRATION_BACKUPFILE", "META_MIGRATION_BACKUP_FILE?"),
            ("META_MIGRATION_BACKUP", "META_MIGRATION_BACKUP_FILE?"),
            ("META_MIGRATION_ROOTPATH", "META_MIGRATION_ROOT_PATH?"),
            ("META_MIGRATION_PASSWORD", "META_MIGRATION_ETCD_PASSWORD?"),
            ("META_MIGRATION_SOURCE_VERSOIN", "META_MIGRATION_SOURCE_VERSION?"),
            ("META_MIGRATION_ENDPOINTS", " ETCD_ENDPOINTS?"),
            ("META_MIGRATION_ETCD_ENDPOINT", " ETCD_ENDPOINTS?"),
            ("META_MIGRATION_", "known are META_MIGRATION_CONFIG, "),
        ] {
            let error = refusal(name, "x").unwrap_or_else(|| panic!("{name} is taken"));
            assert!(error.contains(&format!("{name} is not known")) && error.contains(nearest), "{name}: {error}");
        }
    }

    /// Even one that is empty: somebody meant something by it.
    #[test]
    fn an_unknown_variable_without_a_value_is_refused_too_and_its_value_never_shown() {
        assert!(refusal("META_MIGRATION_ETCD_PASSWD", "").is_some());
        assert!(!refusal("META_MIGRATION_ETCD_PASSWD", "s3cret").unwrap().contains("s3cret"));
    }

    #[test]
    fn what_kubernetes_says_of_a_service_of_this_name_is_no_slip() {
        for (name, value) in [
            ("META_MIGRATION_SERVICE_HOST", "10.0.0.1"),
            ("META_MIGRATION_SERVICE_PORT", "80"),
            ("META_MIGRATION_SERVICE_PORT_HTTP", "80"),
            ("META_MIGRATION_PORT", "tcp://10.0.0.1:80"),
            ("META_MIGRATION_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("META_MIGRATION_PORT_80_TCP_PROTO", "tcp"),
            ("META_MIGRATION_PORT_80_TCP_PORT", "80"),
            ("META_MIGRATION_BACKUP_PORT_80_UDP_ADDR", "10.0.0.1"),
        ] {
            assert_eq!(refusal(name, value), None, "{name}={value}");
        }
        for (name, value) in
            [("META_MIGRATION_PORT", "2379"), ("META_MIGRATION_PORT_X_TCP", "1"), ("META_MIGRATION_HOST", "a")]
        {
            assert!(refusal(name, value).is_some(), "{name}={value}");
        }
    }
}
