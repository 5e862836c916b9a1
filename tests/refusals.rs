//! Bad input: exit code 1, an error that names the thing and the remedy, and nothing written, no lock left behind.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::net::TcpListener;
use std::process::Command;

use common::tool::PROGRAM;
use common::{Certs, Etcd, Tool, Version, on_both_versions, said};
use etcd_client::Permission;

/// A configuration for the etcd at `endpoint`, with more keys below `etcd:`.
fn yaml(endpoint: &str, more: &str) -> String {
    format!(
        "config: {{ sourceVersion: 2.1.4, targetVersion: 2.2.0, backupFilePath: migration.bak }}\n\
         etcd: {{ requestTimeout: 1000, endpoints: ['{endpoint}'], {more} }}\n"
    )
}

/// Runs it and returns the error that it fails with: exit code 1, in clear words, no file left.
#[track_caller]
fn refusal(tool: &Tool, args: &[&str]) -> String {
    let assert = tool.call(args);
    assert!(!tool.backup_file().exists(), "a backup was written");
    refused(&said(&assert), assert.get_output().status.code())
}

/// As [`refusal`], without the configuration file.
#[track_caller]
fn refusal_of_usage(args: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    let assert = Tool::configured("").spawn(command).wait();
    refused(&said(&assert), assert.get_output().status.code())
}

#[track_caller]
fn refused(said: &str, code: Option<i32>) -> String {
    assert_eq!(code, Some(1), "{said}");
    for word in ["panicked", "RUST_BACKTRACE", "backtrace", "defect", "Error {", "Some("] {
        assert!(!said.contains(word), "{word:?} is in: {said}");
    }
    let logged: Vec<&str> = said.lines().filter_map(|line| line.split_once(" ERROR ")).map(|(_, text)| text).collect();
    let text = if logged.is_empty() { said.to_owned() } else { logged.join("\n") };
    assert!(!text.trim().is_empty(), "no reason is given: {said}");
    assert!(text.lines().all(|line| line.chars().count() < 400), "too long: {text}");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut phrases = HashSet::new();
    let twice = words.windows(4).find(|phrase| !phrases.insert(phrase.to_vec()));
    assert_eq!(twice, None, "said twice: {text}");
    text
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[track_caller]
fn assert_one_line(text: &str, words: &[&str]) {
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_says(text, words);
}

/// All keys, and the number of leases: a lock that is left behind shows in both.
fn state(etcd: &Etcd) -> (BTreeMap<Vec<u8>, Vec<u8>>, usize) {
    (etcd.dump(), etcd.run(async |mut client| client.leases().await).leases().len())
}

#[track_caller]
fn assert_untouched<T>(etcd: &Etcd, attempts: impl FnOnce() -> T) -> T {
    let before = state(etcd);
    let result = attempts();
    assert!(state(etcd) == before, "something was written, or a lock or lease left behind");
    result
}

fn loaded(version: Version) -> Etcd {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    etcd
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_with_file_line_and_key() {
    let etcd = loaded(Version::V3_5);
    let revision = etcd.revision();
    let run = |rest: &str| format!("cmd: {{ type: run }}\n{rest}\n");
    let config = |rest: &str| run(&format!("config: {{ {rest} }}"));
    for (yaml, words) in [
        ("", &["migration.yaml: is empty", "cmd.type"][..]),
        ("# nothing but this\n", &["migration.yaml: is empty", "cmd.type"]),
        ("cmd:\n\ttype: run\n", &["migration.yaml:2:", "tab", "blanks"]),
        ("cmd: { type: run\n", &["migration.yaml:2:", "correct the YAML"]),
        ("- cmd\n", &["migration.yaml:1:", "a list", "expected keys like etcd: and cmd:"]),
        ("run\n", &["migration.yaml:1:", "a text", "expected keys like etcd: and cmd:"]),
        ("cmd: run\n", &["migration.yaml:1: cmd:", "\"run\"", "key: value"]),
        (&run("etcd: localhost:2379"), &["migration.yaml:2: etcd:", "\"localhost:2379\"", "key: value"]),
        (&run("metastore: mysql"), &["migration.yaml:2: metastore:", "\"mysql\"", "key: value"]),
        ("cmd: { type: migrate }\n", &["migration.yaml:1: cmd.type:", "\"migrate\"", "run, backup or rollback"]),
        ("cmd: { type: [run] }\n", &["migration.yaml:1: cmd.type:", "a list", "run, backup or rollback"]),
        ("cmd: { runWithBackup: true }\n", &["migration.yaml: cmd.type: missing", "run, backup or rollback"]),
        ("cmd: { type: run, runWithBackup: maybe }\n", &["migration.yaml:1: cmd.runWithBackup:", "true or false"]),
        (&run("metastore: { type: mysql }"), &["migration.yaml:2: metastore.type:", "\"mysql\"", "expected etcd"]),
        (&run("etcd: { use: { embed: true } }"), &["migration.yaml:2: etcd.use.embed:", "etcd --data-dir"]),
        (
            &run("etcd: { requestTimeout: soon }"),
            &["migration.yaml:2: etcd.requestTimeout:", "\"soon\"", "milliseconds"],
        ),
        (&run("etcd: { rootPath: [by-dev] }"), &["migration.yaml:2: etcd.rootPath:", "a list", "expected a text"]),
        (&run("etcd: { rootPath: '', metaSubPath: '' }"), &["etcd.rootPath", "etcd.metaSubPath", "by-dev and meta"]),
        (&run("etcd: { ssl: { enabled: 1 } }"), &["migration.yaml:2: etcd.ssl.enabled:", "true or false"]),
        (&run("etcd: { auth: { enabled: true } }"), &["migration.yaml:2: etcd.auth.enabled:", "etcd.auth.userName"]),
        (
            &run("etcd: { auth: { enabled: true, userName: root } }"),
            &["migration.yaml:2: etcd.auth.userName:", "password is missing", "META_MIGRATION_ETCD_PASSWORD"],
        ),
        (&config(""), &["version", "missing", "config.sourceVersion", "config.targetVersion", "--source-version"]),
        (&config("targetVersion: 2.2.0"), &["version", "missing", "config.sourceVersion"]),
        (&config("sourceVersion: 2.1.4"), &["version", "missing", "config.targetVersion"]),
        (
            &config("sourceVersion: 2.1, targetVersion: 2.2.0"),
            &["migration.yaml:2: config.sourceVersion:", "write 2.1.4"],
        ),
        (
            &config("sourceVersion: 2.1.4, targetVersion: 2.2"),
            &["migration.yaml:2: config.targetVersion:", "write 2.2.0"],
        ),
        (&config("sourceVersion: latest, targetVersion: 2.2.0"), &["config.sourceVersion:", "\"latest\"", "2.1.4"]),
        (&config("sourceVersion: 2.1.4, targetVersion: [2]"), &["migration.yaml:2: config.targetVersion:", "a list"]),
        (
            &config("sourceVersion: 2.0.2, targetVersion: 2.2.0"),
            &["source version 2.0.2", "first upgrade Milvus to 2.1.4"],
        ),
        (&config("sourceVersion: 2.1.4, targetVersion: 2.5.0"), &["target version 2.5.0", "first migrate to 2.4"]),
        (
            &config("sourceVersion: 2.2.0, targetVersion: 2.1.4"),
            &["target version 2.1.4", "source version 2.2.0", "rollback"],
        ),
    ] {
        let endpoint = etcd.endpoint();
        assert_one_line(&refusal(&Tool::configured(yaml), &["--endpoints", &endpoint]), words);
    }
    // Without the flag, which would go before it.
    assert_one_line(
        &refusal(&Tool::configured(&run("etcd: { endpoints: [] }")), &[]),
        &["migration.yaml:2: etcd.endpoints:", "empty list"],
    );
    assert_one_line(
        &refusal(&Tool::configured(&run("etcd: { endpoints: 'ftp://etcd' }")), &[]),
        &["migration.yaml:2: etcd.endpoints:", "\"ftp://etcd\"", "http://"],
    );
    assert_eq!(etcd.revision(), revision);
}

#[test]
fn a_configuration_file_that_is_missing_or_a_directory_is_refused_with_its_name() {
    for spelling in ["--config", "-config"] {
        assert_one_line(&refusal_of_usage(&[spelling, "no/such.yaml"]), &["no/such.yaml: does not exist", "mount"]);
        assert_one_line(&refusal_of_usage(&[spelling, "."]), &[".: is a directory", "docker run -v"]);
    }
}

#[test]
fn bad_usage_is_refused_with_a_way_to_the_help() {
    for (args, words) in [
        (&[][..], &["no command", "meta-migration plan", "--help"][..]),
        (&["--nope"], &["'--nope'", "--help"]),
        (&["backup", "--nope"], &["'--nope'", "--help"]),
        (&["migrate"], &["'migrate'", "--help"]),
        (&["backup", "run"], &["'run'", "--help"]),
        (&["rollback", "--skip-invalid"], &["'--skip-invalid'", "--help"]),
        (&["--config"], &["'--config <FILE>'", "--help"]),
        (&["run", "--request-timeout", "0"], &["'0'", "--request-timeout", "1..=86400000"]),
        (&["run", "--source-version", "2.1"], &["'2.1'", "--source-version", "like 2.1.4"]),
        (&["run", "--rebuild-index", ""], &["--rebuild-index", "ANNOY"]),
        (&["run", "--rename-collection", "a"], &["--rename-collection", "OLD=NEW"]),
        (&["run", "--rename-alias", "a=b$"], &["--rename-alias", "letters, digits and underscores"]),
        (&["run", "--rebuild-index", "ANNOY", "--keep-index-files"], &["--rebuild-index", "cannot be used with"]),
    ] {
        assert_says(&refusal_of_usage(args), words);
    }
}

#[test]
fn help_and_version_end_with_0() {
    for (args, words) in [
        (&["--help"][..], "rollback"),
        (&["-h"], "rollback"),
        (&["help", "run"], "--skip-invalid"),
        (&["run", "--help"], "--skip-invalid"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["-V"], env!("CARGO_PKG_VERSION")),
    ] {
        let mut command = Command::new(PROGRAM);
        command.args(args);
        let assert = Tool::configured("").spawn(command).wait().code(0);
        let output = assert.get_output();
        assert!(String::from_utf8_lossy(&output.stdout).contains(words), "{}", said(&assert));
        assert!(output.stderr.is_empty(), "{}", said(&assert));
    }
}

#[test]
fn a_target_of_the_same_layout_needs_nothing_if_that_layout_is_here() {
    let etcd = loaded(Version::V3_5);
    let tool = Tool::new(&etcd);
    let call = |command: &str, source: &str, target: &str| {
        tool.call(&[command, "--source-version", source, "--target-version", target])
    };
    let revision = etcd.revision();
    for command in ["plan", "run"] {
        for (source, target) in [("2.1.0", "2.1.4"), ("v2.1.4", "v2.1.4")] {
            assert_says(&said(&call(command, source, target).code(0)), &["nothing to do", "read the same layout"]);
        }
        // "Nothing to do" would have had 2.4.23 started on metadata of 2.1.
        let refused = said(&call(command, "2.2.0", "2.4.23").code(1));
        assert_says(
            &refused,
            &[
                "the source version is 2.2.0",
                "what is here is something else",
                "not migrated yet",
                "next: correct the source version",
            ],
        );
    }
    // The next step is not that of metadata that is to be migrated.
    for command in ["plan", "run", "upgrade"] {
        let args = [command, "--output", "json", "--source-version", "2.1.0", "--target-version", "2.1.4"];
        let object = tool.call(&args).code(0).get_output().stdout.clone();
        let object: serde_json::Value = serde_json::from_slice(&object).unwrap();
        assert_eq!((&object["next"]["code"], &object["state"]), (&"nothing".into(), &"ready".into()), "{object:#}");
    }
    assert_eq!(etcd.revision(), revision);
    tool.call(&["run"]).code(0);
    for command in ["plan", "run"] {
        assert_says(&said(&call(command, "2.2.0", "2.4.23").code(0)), &["nothing to do", "read the same layout"]);
        assert_says(&said(&call(command, "2.1.0", "2.1.4").code(1)), &["what is here is something else", "migrated"]);
    }
}

#[test]
fn a_missing_backup_path_is_refused_before_etcd_is_asked() {
    let etcd = loaded(Version::V3_5);
    let revision = etcd.revision();
    let yaml = format!(
        "config: {{ sourceVersion: 2.1.4, targetVersion: 2.2.0 }}\netcd: {{ endpoints: ['{}'] }}\n",
        etcd.endpoint()
    );
    for args in [&["backup"][..], &["rollback"], &["run", "--with-backup"]] {
        assert_one_line(
            &refusal(&Tool::configured(&yaml), args),
            &["no backup file", "config.backupFilePath", "--backup-file"],
        );
        assert_eq!(etcd.revision(), revision, "{args:?} took the lock first");
    }
}

#[test]
fn an_etcd_that_cannot_be_reached_is_named_with_the_reason() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, words) in [
        (closed.to_string(), &["connection refused", "nothing listens on that port"][..]),
        (silent.local_addr().unwrap().to_string(), &["accepted", "nothing is ever said"]),
        ("no-such-host.invalid:2379".to_owned(), &["cannot be resolved", "DNS"]),
    ] {
        for command in ["backup", "run"] {
            let text = refusal(&Tool::configured(&yaml(&address, "")), &[command]);
            assert_one_line(&text, &[&format!("cannot connect to etcd at http://{address}: ")]);
            assert_says(&text, words);
        }
    }
}

#[test]
fn of_several_endpoints_each_is_named_with_its_reason() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoints = format!("{closed}','no-such-host.invalid:2379");
    let text = refusal(&Tool::configured(&yaml(&endpoints, "")), &["run"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_says(lines[1], &[&closed.to_string(), "connection refused"]);
    assert_says(lines[2], &["no-such-host.invalid:2379", "cannot be resolved"]);
}

on_both_versions![
    tls_where_there_is_none_and_none_where_there_is_are_told_apart,
    a_server_certificate_of_another_ca_is_refused,
    a_wrong_user_or_password_is_refused_without_showing_the_password,
    a_user_without_the_rights_is_told_which_are_missing,
    a_root_with_nothing_under_it_is_refused_with_those_that_look_like_milvus,
    a_root_that_is_the_beginning_of_another_is_refused,
    a_user_who_may_not_look_elsewhere_is_told_so_if_the_root_is_wrong,
];

fn tls_where_there_is_none_and_none_where_there_is_are_told_apart(version: Version) {
    let certs = Certs::new();
    let (plain, with_tls) = (loaded(version), Etcd::with(version).tls(&certs).start());
    with_tls.load_milvus();
    let ssl = format!("ssl: {{ enabled: true, tlsMinVersion: 1.2, tlsCACert: '{}' }}", certs.ca().display());
    for (etcd, from, to, more, words) in [
        (&with_tls, "https", "http", "", &["etcd demands TLS", "etcd.ssl.enabled", "etcd.ssl.tlsCACert"][..]),
        (&plain, "http", "https", &*ssl, &["speaks plain HTTP", "etcd.ssl.enabled to false"]),
    ] {
        let endpoint = etcd.endpoint().replacen(from, to, 1);
        let tool = Tool::configured(&yaml(&endpoint, more));
        assert_one_line(&assert_untouched(etcd, || refusal(&tool, &["run"])), &[&endpoint]);
        assert_says(&refusal(&tool, &["run"]), words);
    }
}

fn a_server_certificate_of_another_ca_is_refused(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::with(version).tls(&certs).start();
    etcd.load_milvus();
    let ssl =
        |ca: std::path::PathBuf| format!("ssl: {{ enabled: true, tlsMinVersion: 1.2, tlsCACert: '{}' }}", ca.display());
    let tool = Tool::configured(&yaml(&etcd.endpoint(), &ssl(certs.foreign_ca())));
    let text = assert_untouched(&etcd, || refusal(&tool, &["run"]));
    assert_one_line(&text, &[&etcd.endpoint(), "not signed by a CA that is trusted", "etcd.ssl.tlsCACert"]);
    let tool = Tool::configured(&yaml(&etcd.endpoint(), &ssl(certs.server().key)));
    let text = assert_untouched(&etcd, || refusal(&tool, &["run"]));
    assert_one_line(&text, &["server-key.pem", "no certificate", "etcd.ssl.tlsCACert"]);
}

fn a_wrong_user_or_password_is_refused_without_showing_the_password(version: Version) {
    let etcd = loaded(version);
    etcd.enable_auth();
    for user in ["root", "nobody"] {
        let auth = format!("auth: {{ enabled: true, userName: {user}, password: hunter2 }}");
        let tool = Tool::configured(&yaml(&etcd.endpoint(), &auth));
        let text = assert_untouched(&etcd, || refusal(&tool, &["run"]));
        assert_one_line(&text, &[&etcd.endpoint(), &format!("{user:?}"), "etcd.auth.userName", "etcd.auth.password"]);
        assert!(!said(&tool.call(&["run", "--verbose"])).contains("hunter2"));
    }
    let tool = Tool::configured(&yaml(&etcd.endpoint(), ""));
    let text = assert_untouched(&etcd, || refusal(&tool, &["run"]));
    assert_one_line(&text, &["authentication is enabled in etcd", "etcd.auth.enabled to true"]);
}

fn a_user_without_the_rights_is_told_which_are_missing(version: Version) {
    let etcd = loaded(version);
    etcd.add_user("stranger", "hunter2", &[Permission::read_write("other/").with_prefix()]);
    etcd.add_user("reader", "hunter2", &[Permission::read("by-dev/meta/").with_prefix()]);
    etcd.enable_auth();
    for user in ["stranger", "reader"] {
        let auth = format!("auth: {{ enabled: true, userName: {user}, password: hunter2 }}");
        let tool = Tool::configured(&yaml(&etcd.endpoint(), &auth));
        for command in ["backup", "run"] {
            let text = assert_untouched(&etcd, || refusal(&tool, &[command]));
            assert_one_line(&text, &[&format!("{user:?}"), "by-dev/meta", "etcdctl role grant-permission"]);
        }
    }
}

fn a_root_with_nothing_under_it_is_refused_with_those_that_look_like_milvus(version: Version) {
    let etcd = loaded(version);
    for root in ["prod/meta", "a/b/meta", "/slash/meta"] {
        etcd.put(format!("{root}/root-coord/collection/1"), "collection");
    }
    etcd.put("other/thing", "of somebody else");
    // Only the counter of a Milvus that has been removed.
    etcd.put("gone/meta/session/id", "7");
    for root in ["nope", "gone"] {
        for command in ["backup", "run"] {
            let tool = Tool::configured(&yaml(&etcd.endpoint(), &format!("rootPath: {root}")));
            let text = assert_untouched(&etcd, || refusal(&tool, &[command]));
            assert_one_line(&text, &[&format!("no metadata under {root}/meta"), "etcd.rootPath", "etcd.metaSubPath"]);
            assert_says(&text, &["/slash/meta, a/b/meta, by-dev/meta"]);
            assert_says(&text, &["prod/meta"]);
            assert_eq!(text.matches(&format!("{root}/meta")).count(), 1, "{text}");
            assert!(!text.contains("other"), "{text}");
        }
    }
}

fn a_root_that_is_the_beginning_of_another_is_refused(version: Version) {
    let etcd = loaded(version);
    for (wrong, root) in [("rootPath: by", "by/meta"), ("metaSubPath: met", "by-dev/met")] {
        for command in ["backup", "run"] {
            let tool = Tool::configured(&yaml(&etcd.endpoint(), wrong));
            let text = assert_untouched(&etcd, || refusal(&tool, &[command]));
            assert_one_line(&text, &[&format!("no metadata under {root}:"), "look like Milvus: by-dev/meta."]);
        }
    }
}

fn a_user_who_may_not_look_elsewhere_is_told_so_if_the_root_is_wrong(version: Version) {
    let etcd = loaded(version);
    etcd.add_user("milvus", "hunter2", &[Permission::read_write("by-dev/").with_prefix()]);
    etcd.enable_auth();
    let wrong = "metaSubPath: met, auth: { enabled: true, userName: milvus, password: hunter2 }";
    let tool = Tool::configured(&yaml(&etcd.endpoint(), wrong));
    let text = assert_untouched(&etcd, || refusal(&tool, &["run"]));
    assert_one_line(&text, &["no metadata under by-dev/met:", "etcd.rootPath", "etcd.metaSubPath"]);
    // It could not be looked for.
    assert!(!text.contains("Nothing in this etcd"), "{text}");
}
