//! Settings that are misspelt, that contradict Milvus's own, and where each comes from.

use predicates::prelude::*;
use predicates::str::contains;

use crate::common::{Etcd, Tool, Version, said};
use crate::{call, sample};

/// A typo used to migrate without a backup.
#[test]
fn a_misspelt_key_or_variable_stops_every_command_before_anything_is_written() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    let config = std::fs::read_to_string(tool.config_file()).unwrap();
    let revision = etcd.revision();
    for command in ["status", "plan", "backup", "run", "verify", "rollback"] {
        tool.configure(&config.replace("backupFilePath", "backupFile"));
        let text = said(&tool.call(&[command]).code(1));
        assert!(text.contains("migration.yaml:1: config.backupFile: this key is not known"), "{command}: {text}");
        assert!(text.contains("did you mean config.backupFilePath?"), "{command}: {text}");

        tool.configure(&config);
        let file = tool.config_file();
        let args = ["--config", file.to_str().unwrap(), command];
        let text = said(&call(&tool, &args, &[("META_MIGRATION_BACKUP", "b.bak")]).code(1));
        assert!(
            text.contains("META_MIGRATION_BACKUP is not known") && text.contains("META_MIGRATION_BACKUP_FILE?"),
            "{text}"
        );
    }
    assert_eq!(etcd.revision(), revision, "something was written");
}

#[test]
fn what_kubernetes_says_of_a_service_does_not_stop_it() {
    let etcd = sample(Version::V3_5);
    let service = [("META_MIGRATION_SERVICE_HOST", "10.0.0.1"), ("META_MIGRATION_PORT", "tcp://10.0.0.1:80")];
    call(&Tool::configured(""), &["status", "--endpoints", &etcd.endpoint()], &service).code(0);
}

/// As the chart of Milvus mounts them.
fn milvus_files(tool: &Tool, etcd: &Etcd, root: &str) -> [String; 2] {
    let default = "etcd:\n  endpoints:\n    - localhost:2379\n  rootPath: by-dev\n  metaSubPath: meta\nmetastore:\n  type: etcd\n";
    let user = format!("etcd:\n  endpoints: ['{}']\n  rootPath: {root}\n", etcd.endpoint());
    [("default.yaml", default), ("user.yaml", &user)].map(|(name, text)| {
        let path = tool.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

#[test]
fn milvus_s_own_files_lead_to_its_etcd_and_every_source_is_said_once() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::configured("");
    let [default, user] = milvus_files(&tool, &etcd, "by-dev");
    let status = call(&tool, &["status", "--milvus-config", &default, "--milvus-config", &user], &[]).code(0);
    let text = said(&status);
    for stated in [
        format!("etcd endpoints: {} ({user}:2: etcd.endpoints)", etcd.endpoint()),
        format!("root path: by-dev ({user}:3: etcd.rootPath)"),
        format!("meta sub path: meta ({default}:5: etcd.metaSubPath)"),
    ] {
        assert_eq!(text.matches(&stated).count(), 1, "{stated}: {text}");
    }
    // One variable for all of them.
    let both = format!("{default},{user}");
    call(&tool, &["status"], &[("META_MIGRATION_MILVUS_CONFIG", &both)]).code(0).stderr(contains(etcd.endpoint()));
}

#[test]
fn what_contradicts_milvus_s_own_files_is_refused_before_etcd_is_asked() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::configured("config: { sourceVersion: 2.1.4, targetVersion: 2.2.0 }\netcd: { rootPath: by-dev }\n");
    let [default, user] = milvus_files(&tool, &etcd, "prod");
    let args = ["run", "--milvus-config", &default, "--milvus-config", &user];
    let text = said(&tool.call(&args).code(1));
    assert!(
        text.contains("migration.yaml:2: etcd.rootPath: \"by-dev\", but Milvus's own configuration has "),
        "{text}"
    );
    assert!(text.contains("user.yaml:3: etcd.rootPath: \"prod\""), "{text}");
    let text = said(&call(&tool, &[&args[..], &["--endpoints", "127.0.0.1:1"]].concat(), &[]).code(1));
    assert!(text.contains("--endpoints: http://127.0.0.1:1, but") && text.contains("user.yaml:2"), "{text}");
    assert!(!text.contains("connection refused"), "{text}");
}

#[test]
fn plan_refuses_where_other_components_are_registered_than_expected() {
    let etcd = sample(Version::V3_5);
    let session = |root: &str, role: &str, address: &str| {
        let value = format!(r#"{{"ServerID":9,"ServerName":"{role}","Address":"{address}","Exclusive":true}}"#);
        etcd.put_with_lease(format!("{root}/meta/session/{role}"), value, 600);
    };
    session("by-dev", "rootcoord", "10.0.0.1:53100");
    session("by-dev", "proxy", "10.0.0.2:19530");
    session("prod", "rootcoord", "10.0.0.9:53100");
    let tool = Tool::new(&etcd);
    let plan = |addresses: &str| tool.call(&["plan", "--expect-address", addresses]);
    plan("10.0.0.1,10.0.0.2").stdout(contains("--expect-address").not());
    let refused = plan("10.0.0.9").code(1);
    let text = said(&refused);
    for part in [
        "under by-dev/meta there are components at other addresses: proxy at 10.0.0.2:19530, rootcoord at 10.0.0.1:53100",
        "These addresses are under prod/meta (rootcoord at 10.0.0.9:53100)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    plan("not an address").code(1).stderr(contains("is no address"));
    tool.call(&["plan", "--from-backup", "x.bak", "--expect-address", "10.0.0.1"]).code(1);
}
