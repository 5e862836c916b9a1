//! etcds that want a password, TLS, or both; all of it from the file, as Milvus has it.

use std::process::Command;

use etcd_client::Permission;
use predicates::prelude::*;
use predicates::str::contains;

use crate::common::state::assert_same;
use crate::common::tool::PROGRAM;
use crate::common::{Certs, Etcd, Tool, Version, on_both_versions, said};
use crate::{by_operator, by_shell, config, host_and_port, migrated_keys};

on_both_versions![
    a_user_whose_role_has_the_root_path_can_do_everything,
    a_user_without_enough_rights_is_told_which_are_missing,
    wrong_passwords_are_refused_and_never_shown,
    tls_with_a_client_certificate_works_with_either_minimum_version,
    tls_and_a_password_work_together,
];

/// With what YAML and logs might stumble over.
const PASSWORD: &str = "s3cr:t #1 \"ü\"";

fn login(etcd: &Etcd, password: &str) -> String {
    format!(
        "endpoints: [{}]\n  auth:\n    enabled: true\n    userName: milvus\n    password: '{password}'",
        host_and_port(etcd)
    )
}

fn with_user(etcd: &Etcd, prefix: &str) {
    etcd.load_milvus();
    etcd.add_user("milvus", PASSWORD, &[Permission::read_write(prefix).with_prefix()]);
    etcd.enable_auth();
}

/// Backup, run and rollback; no output shows the password.
fn do_everything(etcd: &Etcd, tool: &Tool, access: &str) {
    let before = etcd.dump();
    for command in ["backup", "run", "rollback"] {
        tool.configure(&config(tool, command, "2.1.4", "2.2.0", access));
        assert_no_password(&said(&by_shell(tool).wait().code(0)));
        assert_eq!(etcd.dump().len(), if command == "run" { migrated_keys("2.2.0") } else { before.len() });
    }
    assert_same(&before, &etcd.dump(), "rollback");
}

fn assert_no_password(text: &str) {
    assert!(!text.contains("s3cr"), "{text}");
}

fn a_user_whose_role_has_the_root_path_can_do_everything(version: Version) {
    let etcd = Etcd::start(version);
    with_user(&etcd, "by-dev/");
    do_everything(&etcd, &Tool::configured(""), &login(&etcd, PASSWORD));
}

fn a_user_without_enough_rights_is_told_which_are_missing(version: Version) {
    let etcd = Etcd::start(version);
    with_user(&etcd, "by-other/");
    let before = etcd.dump();
    let tool = Tool::configured("");
    for command in ["backup", "run"] {
        tool.configure(&config(&tool, command, "2.1.4", "2.2.0", &login(&etcd, PASSWORD)));
        by_operator(&tool)
            .wait()
            .code(1)
            .stderr(contains("user \"milvus\"").and(contains("etcdctl role grant-permission")));
    }
    assert_same(&before, &etcd.dump(), "refused");
    assert_eq!(etcd.leases().len(), 0);
}

fn wrong_passwords_are_refused_and_never_shown(version: Version) {
    let etcd = Etcd::start(version);
    with_user(&etcd, "by-dev/");
    let tool = Tool::configured("");
    let start = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(PROGRAM);
        command.arg("-config").arg(tool.config_file()).args(args).envs(variables.iter().copied());
        let ended = tool.spawn(command).wait();
        assert_no_password(&said(&ended));
        ended
    };
    // Everything that can be logged is.
    let all = [("META_MIGRATION_LOG", "trace")];
    tool.configure(&config(&tool, "backup", "2.1.4", "2.2.0", &login(&etcd, "s3cr-wrong")));
    start(&["--verbose"], &[]).code(1).stderr(contains("no user \"milvus\" with this password"));
    start(&[], &all).code(1);
    tool.configure(&config(
        &tool,
        "backup",
        "2.1.4",
        "2.2.0",
        &format!("endpoints: ['http://u:s3cr@{}']", host_and_port(&etcd)),
    ));
    start(&[], &[]).code(1).stderr(contains("etcd.auth.userName"));
    tool.configure(&config(&tool, "backup", "2.1.4", "2.2.0", &format!("endpoints: [{}]", host_and_port(&etcd))));
    start(&[], &[]).code(1).stderr(contains("no user is configured"));

    // The right one, from each place that it can come from.
    start(&["--user=milvus"], &[("META_MIGRATION_ETCD_PASSWORD", PASSWORD)]).code(0);
    std::fs::write(tool.dir().join("password"), format!("{PASSWORD}\n")).unwrap();
    start(&["--user=milvus", "--password-file=password", "--verbose"], &[]).code(0);
    tool.configure(&config(&tool, "run", "2.1.4", "2.2.0", &login(&etcd, PASSWORD)));
    start(&[], &all).code(0);
    assert_eq!(etcd.dump().len(), migrated_keys("2.2.0"));
}

fn ssl(etcd: &Etcd, certs: &Certs, min_version: &str) -> String {
    let client = certs.client();
    format!(
        "endpoints: [{}]\n  ssl:\n    enabled: true\n    tlsCert: {}\n    tlsKey: {}\n    tlsCACert: {}\n    tlsMinVersion: {min_version}",
        host_and_port(etcd),
        client.cert.display(),
        client.key.display(),
        certs.ca().display()
    )
}

fn tls_with_a_client_certificate_works_with_either_minimum_version(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::with(version).tls(&certs).client_cert_required().start();
    etcd.load_milvus();
    do_everything(&etcd, &Tool::configured(""), &ssl(&etcd, &certs, "1.2"));
    let tool = Tool::configured("");
    match version {
        Version::V3_4 => do_everything(&etcd, &tool, &ssl(&etcd, &certs, "1.3")),
        // 3.5.0 to 3.5.7 speak nothing above 1.2.
        Version::V3_5 => {
            tool.configure(&config(&tool, "run", "2.1.4", "2.2.0", &ssl(&etcd, &certs, "1.3")));
            by_operator(&tool).wait().code(1).stderr(contains("set etcd.ssl.tlsMinVersion to 1.2"));
        }
    }
    let without_certificate = format!(
        "endpoints: [{}]\n  ssl: {{ enabled: true, tlsCACert: {}, tlsMinVersion: 1.2 }}",
        host_and_port(&etcd),
        certs.ca().display()
    );
    let before = etcd.dump();
    for (access, cause) in [
        (without_certificate, "etcd.ssl.tlsCert"),
        (
            ssl(&etcd, &certs, "1.2").replace(&*certs.ca().to_string_lossy(), &certs.foreign_ca().to_string_lossy()),
            "tlsCACert",
        ),
        (format!("endpoints: [{}]", host_and_port(&etcd)), "etcd.ssl.enabled"),
    ] {
        tool.configure(&config(&tool, "run", "2.1.4", "2.2.0", &access));
        by_operator(&tool).wait().code(1).stderr(contains(cause));
    }
    assert_same(&before, &etcd.dump(), "refused");
}

fn tls_and_a_password_work_together(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::with(version).tls(&certs).start();
    with_user(&etcd, "by-dev/");
    let auth = login(&etcd, PASSWORD);
    let (_, auth) = auth.split_once('\n').unwrap();
    let access = format!("{}\n{auth}", ssl(&etcd, &certs, "1.2"));
    do_everything(&etcd, &Tool::configured(""), &access);
}
