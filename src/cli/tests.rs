use std::fs;

use semver::Version;

use super::*;
use crate::catalog::names::Rename;
use crate::config;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    parse_from(line.split_whitespace().map(OsString::from))
}

fn job(line: &str, yaml: &str) -> Result<Job> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.yaml");
    fs::write(&path, yaml).unwrap();
    let config = config::load(Some(&path), &Overrides::default()).unwrap();
    parse(line).unwrap().job(&config)
}

#[test]
fn the_declaration_is_sound() {
    declaration().debug_assert();
}

#[test]
fn every_spelling_of_config_is_understood_anywhere() {
    for line in [
        "meta-migration -config=/a/b.yaml",
        "meta-migration -config /a/b.yaml",
        "meta-migration --config=/a/b.yaml",
        "meta-migration --config /a/b.yaml",
        "meta-migration run -config /a/b.yaml",
        "meta-migration -config /a/b.yaml run --force",
        "meta-migration run --force -config=/a/b.yaml",
    ] {
        assert_eq!(parse(line).unwrap().common.config.as_deref(), Some(Path::new("/a/b.yaml")), "{line}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_name_that_is_not_utf_8_is_kept() {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let args = ["meta-migration".into(), OsString::from_vec(b"-config=/a/\xff".to_vec())];
    assert_eq!(parse_from(args).unwrap().common.config.unwrap().as_os_str().as_bytes(), b"/a/\xff");
}

#[test]
fn only_the_word_config_gets_a_second_dash() {
    let rewrite = |arg: &str| with_two_dashes([OsString::from(arg)]).next().unwrap();
    for (typed, expected) in [
        ("-config", "--config"),
        ("-config=", "--config="),
        ("--config", "--config"),
        ("-configs", "-configs"),
        ("-c", "-c"),
        ("-v", "-v"),
        ("config", "config"),
    ] {
        assert_eq!(rewrite(typed), expected, "{typed}");
    }
    let after: Vec<OsString> = with_two_dashes(["--", "-config"].map(OsString::from)).collect();
    assert_eq!(after, ["--", "-config"]);
}

#[test]
fn flags_stand_before_or_after_the_command() {
    for line in [
        "x --endpoints a:1 --root-path r --max-txn-ops 9 -v run",
        "x run --endpoints a:1 --root-path r --max-txn-ops 9 -v",
        "x --endpoints a:1 run --root-path r --verbose --max-txn-ops=9",
    ] {
        let common = parse(line).unwrap().common;
        assert_eq!((common.endpoints.as_deref(), common.root_path.as_deref()), (Some("a:1"), Some("r")), "{line}");
        assert!(common.verbose && common.max_txn_ops == 9, "{line}");
    }
}

#[test]
fn limits_of_etcd_have_defaults_and_ranges() {
    let common = parse("x run").unwrap().common;
    assert_eq!((common.max_txn_ops, common.max_request_bytes), (128, 1_572_864));
    for bad in [
        "--max-txn-ops 7",
        "--max-txn-ops 100001",
        "--max-request-bytes 65535",
        "--request-timeout 0",
        "--request-timeout 10s",
        "--source-version 2.1",
        "--tls=perhaps",
    ] {
        assert_eq!(exit_of(&parse(&format!("x run {bad}")).unwrap_err()), Exit::NothingWritten, "{bad}");
    }
}

#[test]
fn bad_usage_ends_with_1_and_help_and_version_with_0() {
    for line in ["x nonsense", "x run --nonsense", "x run --config", "x --password secret", "x backup --with-backup"] {
        assert_eq!(exit_of(&parse(line).unwrap_err()), Exit::NothingWritten, "{line}");
    }
    for line in ["x --help", "x run --help", "x help rollback", "x --version"] {
        assert_eq!(exit_of(&parse(line).unwrap_err()), Exit::Done, "{line}");
    }
}

#[test]
fn every_common_flag_has_an_environment_variable() {
    let declaration = Cli::command();
    for arg in declaration.get_arguments() {
        let variable = arg.get_env().and_then(OsStr::to_str).unwrap_or_default();
        let expected = match arg.get_id().as_str() {
            "endpoints" => "ETCD_ENDPOINTS".to_owned(),
            "user" => "META_MIGRATION_ETCD_USER".to_owned(),
            "password_file" => "META_MIGRATION_ETCD_PASSWORD_FILE".to_owned(),
            id => format!("META_MIGRATION_{}", id.to_ascii_uppercase()),
        };
        assert_eq!(variable, expected, "{arg}");
        assert!(arg.is_global_set(), "{arg} must work behind the command too");
    }
}

#[test]
fn overrides_are_what_was_typed() {
    let line = "x run --endpoints a:1,b:1 --root-path r --meta-sub-path m --request-timeout 5 --tls --tls-ca ca --tls-cert cert \
                --tls-key key --tls-min-version 1.2 --user root --source-version v2.1.4 --target-version 2.2.0 --backup-file f";
    let given = parse(line).unwrap().overrides().unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!((given.endpoints, given.root_path, given.meta_sub_path), (text("a:1,b:1"), text("r"), text("m")));
    assert_eq!((given.request_timeout, given.tls), (Some(Duration::from_millis(5)), Some(true)));
    assert_eq!((given.tls_ca, given.tls_cert), (Some("ca".into()), Some("cert".into())));
    assert_eq!((given.tls_key, given.tls_min_version, given.user), (Some("key".into()), text("1.2"), text("root")));
    assert_eq!(
        (given.source_version, given.target_version),
        (Some(Version::new(2, 1, 4)), Some(Version::new(2, 2, 0)))
    );
    assert_eq!(given.backup_file, Some("f".into()));
    assert_eq!(parse("x --tls=false run").unwrap().overrides().unwrap().tls, Some(false));
}

#[test]
fn the_password_file_is_read_without_its_last_line_break() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    for (content, expected) in [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3\n\r\n", "s3\n"), (" s \n", " s ")] {
        fs::write(&path, content).unwrap();
        let cli = parse(&format!("x --password-file {}", path.display())).unwrap();
        let given = cli.overrides().unwrap();
        assert_eq!(given.password.as_ref().unwrap().reveal(), expected);
        assert!(!format!("{cli:?} {given:?}").contains("s3"), "a password must not show");
    }
    for content in ["", "\n"] {
        fs::write(&path, content).unwrap();
        let error = password_in(&path, "it").unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()) && error.contains("is empty"), "{error}");
    }
    let error = password_in(folder.path(), "it").unwrap_err().to_string();
    assert!(error.contains("is a directory"), "{error}");
}

#[test]
fn a_password_variable_that_is_empty_counts_as_not_set() {
    assert_eq!(password_from(PASSWORD_VARIABLE, "--password-file", None).unwrap(), None);
    assert_eq!(password_from(PASSWORD_VARIABLE, "--password-file", Some("".into())).unwrap(), None);
    assert_eq!(password_from(PASSWORD_VARIABLE, "--password-file", Some("p".into())).unwrap().unwrap().reveal(), "p");
}

#[test]
fn the_command_line_goes_before_cmd_type() {
    let yaml = "cmd: {type: rollback, runWithBackup: true, skipInvalid: true}";
    assert_eq!(job("x", yaml).unwrap(), Job::Rollback(RollbackOptions::default()));
    assert_eq!(
        job("x backup --force", yaml).unwrap(),
        Job::Backup(BackupOptions { force: true, ..BackupOptions::default() })
    );
    let merged = RunOptions { with_backup: true, skip_invalid: true, ..RunOptions::default() };
    assert_eq!(job("x run", yaml).unwrap(), Job::Run(merged));
    assert_eq!(job("x run --with-backup=false --skip-invalid=false", yaml).unwrap(), Job::Run(RunOptions::default()));
}

#[test]
fn cmd_type_decides_without_a_command() {
    assert_eq!(job("x", "cmd: {type: run}").unwrap(), Job::Run(RunOptions::default()));
    let backup = RunOptions { with_backup: true, ..RunOptions::default() };
    assert_eq!(job("x", "cmd: {type: run, runWithBackup: true}").unwrap(), Job::Run(backup));
    assert_eq!(job("x", "cmd: {type: backup}").unwrap(), Job::Backup(BackupOptions::default()));
}

#[test]
fn inspect_shows_one_thing_of_one_file() {
    let options = |line: &str| match job(line, "{}").unwrap() {
        Job::Inspect(options) => options,
        other => panic!("{other:?}"),
    };
    let file = InspectOptions { file: Some("f".into()), ..InspectOptions::default() };
    assert_eq!(options("x inspect f"), file);
    assert_eq!(options("x inspect f --list"), InspectOptions { list: Some("".into()), ..file.clone() });
    assert_eq!(options("x inspect f --list p/"), InspectOptions { list: Some("p/".into()), ..file.clone() });
    assert_eq!(options("x inspect f --export -"), InspectOptions { export: Some("-".into()), ..file });
    assert!(parse("x inspect f --list --key k").is_err());
}

#[test]
fn without_any_command_the_error_says_where_to_put_it() {
    let error = job("x", "{}").unwrap_err().to_string();
    assert!(error.contains("--config") && error.contains("rollback"), "{error}");
    let error = job("x -config /a.yaml", "{}").unwrap_err().to_string();
    assert!(error.starts_with("/a.yaml: cmd.type: missing"), "{error}");
}

#[test]
fn options_of_run_and_rollback_are_carried() {
    let Job::Run(run) =
        job("x run --with-backup --rebuild-index ANNOY,IVF_PQ --rebuild-index HNSW --force", "{}").unwrap()
    else {
        panic!("run is run");
    };
    assert!(run.with_backup && run.no_backup && !run.skip_invalid && !run.conversion.keep_index_files);
    assert_eq!(run.conversion.rebuild_index, ["ANNOY", "IVF_PQ", "HNSW"]);
    let Job::Plan(plan) = job("x plan --rename-collection a$b=ab --rename-alias=c=d --rename-alias e=f", "{}").unwrap()
    else {
        panic!("plan is plan");
    };
    let rename = |old: &str, new: &str| Rename { old: old.into(), new: new.into() };
    assert_eq!(plan.conversion.rename_collection, [rename("a$b", "ab")]);
    assert_eq!(plan.conversion.rename_alias, [rename("c", "d"), rename("e", "f")]);
    assert!(parse("x run --rename-collection a=b$c").is_err());
    let options = RollbackOptions { allow_other_root: true, ..RollbackOptions::default() };
    assert_eq!(job("x rollback --allow-other-root", "{}").unwrap(), Job::Rollback(options));
    assert!(parse("x run --keep-index-files --rebuild-index ANNOY").is_err());
    assert!(parse("x run --rebuild-index ANNOY,").is_err());
}
