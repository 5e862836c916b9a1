//! The options of `verify`.

use std::path::PathBuf;

use clap::Args;

use super::index_type;

/// Options of `verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct VerifyOptions {
    /// Work the migration out again from this backup, and compare etcd with it value by value
    #[arg(long, value_name = "FILE")]
    pub backup: Option<PathBuf>,

    /// As given to the run that is compared with [default: cmd.skipInvalid]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        requires = "backup"
    )]
    pub skip_invalid: Option<bool>,

    /// As given to the run that is compared with
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = index_type, requires = "backup")]
    pub rebuild_index: Vec<String>,

    /// As given to the run that is compared with
    #[arg(long, conflicts_with = "rebuild_index", requires = "backup")]
    pub keep_index_files: bool,

    /// List every key, as --verbose says.
    #[arg(skip)]
    pub verbose: bool,
}
