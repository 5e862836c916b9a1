//! Milvus's own configuration files beside ours.

use super::*;

#[test]
fn milvus_s_own_files_say_which_etcd_and_which_root_and_the_last_one_wins() {
    let default =
        "etcd: {endpoints: [a:1], rootPath: by-dev, metaSubPath: meta}\nmetastore: {type: etcd}\ncmd: {nonsense: 1}";
    let user = "etcd: {endpoints: [b:1, c:1], rootPath: prod}";
    let config = assemble(&layers("config: {sourceVersion: 2.1.4}", &[default, user]), &Overrides::default()).unwrap();
    assert_eq!(uris(&config), ["http://b:1", "http://c:1"]);
    assert_eq!(config.meta_root.prefix(), "prod/meta/");
    let stated: Vec<_> = config.stated().iter().map(ToString::to_string).collect();
    assert_eq!(
        stated,
        [
            "etcd endpoints: http://b:1, http://c:1 (m1.yaml:1: etcd.endpoints)",
            "root path: prod (m1.yaml:1: etcd.rootPath)",
            "meta sub path: meta (m0.yaml:1: etcd.metaSubPath)",
            "source version: 2.1.4 (f.yaml:1: config.sourceVersion)",
        ]
    );
}

#[test]
fn every_setting_carries_its_source() {
    let given = Overrides {
        endpoints: Some("a:1".into()),
        root_path: Some("r".into()),
        backup_file: Some("b".into()),
        from_variables: ["--endpoints".to_owned()].into(),
        ..Overrides::default()
    };
    let whence = read_with("config: {backupFilePath: f}", &given).whence;
    assert_eq!(
        (whence.endpoints.in_words(), whence.root_path.in_words()),
        ("variable ETCD_ENDPOINTS".into(), "flag --root-path".into())
    );
    assert_eq!(
        (whence.meta_sub_path.in_words(), whence.backup_file),
        ("default".into(), Some(Source::Flag("--backup-file")))
    );
    assert_eq!((whence.source_version, whence.target_version), (None, None));
}

#[test]
fn what_is_said_elsewhere_and_differs_from_milvus_is_refused_with_both_values() {
    let endpoints = Overrides { endpoints: Some("a:1".into()), ..Overrides::default() };
    let root = Overrides { root_path: Some("other".into()), ..Overrides::default() };
    let tls = Overrides { tls: Some(true), ..Overrides::default() };
    let user = Overrides { user: Some("root".into()), password: Some("p".to_owned().into()), ..Overrides::default() };
    let none = Overrides::default();
    for (given, own, milvus, ours, theirs) in [
        (
            &endpoints,
            "{}",
            "etcd: {endpoints: [a:1, b:1]}",
            "--endpoints: http://a:1, but",
            "etcd.endpoints: http://a:1, http://b:1",
        ),
        (
            &none,
            "etcd: {endpoints: x:1}",
            "etcd: {endpoints: y:1}",
            "f.yaml:1: etcd.endpoints: http://x:1",
            "m0.yaml:1: etcd.endpoints: http://y:1",
        ),
        (
            &root,
            "etcd: {rootPath: prod}",
            "etcd: {rootPath: prod}",
            "--root-path: \"other\"",
            "m0.yaml:1: etcd.rootPath: \"prod\"",
        ),
        (
            &none,
            "etcd: {metaSubPath: m}",
            "etcd: {metaSubPath: ''}",
            "f.yaml:1: etcd.metaSubPath: \"m\"",
            "etcd.metaSubPath: \"\"",
        ),
        (&tls, "{}", "etcd: {ssl: {enabled: false}}", "--tls: true", "m0.yaml:1: etcd.ssl.enabled: false"),
        (
            &user,
            "{}",
            "etcd: {auth: {enabled: false}}",
            "--user: the user \"root\"",
            "m0.yaml:1: etcd.auth.enabled: false",
        ),
        (
            &user,
            "{}",
            "etcd: {auth: {enabled: true, userName: milvus, password: p}}",
            "--user: \"root\"",
            "etcd.auth.userName: \"milvus\"",
        ),
    ] {
        let error = assemble(&layers(own, &[milvus]), given).unwrap_err().to_string();
        assert!(
            error.starts_with(ours) && error.contains(theirs) && error.contains("--milvus-config"),
            "{own} {milvus}: {error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_password_that_differs_from_milvus_s_is_refused_without_showing_either() {
    let given = Overrides { password: Some("s3cret".to_owned().into()), ..Overrides::default() };
    let auth = |password: &str| format!("etcd: {{auth: {{enabled: true, userName: root, password: {password}}}}}");
    let error = assemble(&layers("{}", &[&auth("t4cret")]), &given).unwrap_err().to_string();
    assert!(
        error.contains("etcd.auth.password")
            && !error.contains("cret:")
            && !error.contains("s3")
            && !error.contains("t4"),
        "{error}"
    );
    let config = assemble(&layers("{}", &[&auth("s3cret")]), &given).unwrap();
    assert_eq!(config.etcd.auth.unwrap().user, "root");
}

#[test]
fn what_means_the_same_agrees() {
    let own = "etcd: {endpoints: 'b:1,http://a:1', rootPath: by-dev/, metaSubPath: meta, ssl: {enabled: false}}\nmetastore: {type: etcd}";
    let milvus = "etcd: {endpoints: [a:1, b:1], rootPath: by-dev, metaSubPath: /meta, ssl: {enabled: false}, auth: {enabled: false, userName: , password: }}\nmetastore: {type: etcd}";
    assert_eq!(
        uris(
            &assemble(
                &layers(own, &[milvus, ""].map(|yaml| if yaml.is_empty() { "x: 1" } else { yaml })),
                &Overrides::default()
            )
            .unwrap()
        ),
        ["http://b:1", "http://a:1"]
    );
}

#[test]
fn mysql_and_an_embedded_etcd_in_milvus_s_own_files_are_told() {
    let refused = |own: &str, milvus: &[&str]| {
        assemble(&layers(own, milvus), &Overrides::default()).err().map(|error| error.to_string())
    };
    let error = refused("metastore: {type: etcd}", &["metastore: {type: mysql}"]).unwrap();
    assert!(
        error.starts_with("m0.yaml:1: metastore.type: found \"mysql\"") && error.contains("Stay with Milvus 2.1"),
        "{error}"
    );
    assert_eq!(refused("{}", &["metastore: {type: mysql}", "metastore: {type: etcd}"]), None);
    let embedded = "etcd: {use: {embed: true}, endpoints: [localhost:2379]}";
    assert!(refused("{}", &[embedded]).unwrap().starts_with("m0.yaml:1: etcd.use.embed: "));
    // A plain etcd on its data directory, wherever it listens.
    assert_eq!(refused("etcd: {endpoints: other:1}", &[embedded]), None);
}

/// What else stands in the file may be what it was shipped with; then the message IDs tell.
#[test]
fn the_message_log_is_known_where_it_stands_alone() {
    let said = |milvus: &[&str]| assemble(&layers("{}", milvus), &Overrides::default()).unwrap().message_log;
    let (kafka, pulsar) = ("kafka: {brokerList: 'k0:9092,k1:9092'}", "pulsar: {address: pulsar, port: 6650}");
    let rocksmq = "rocksmq: {path: /var/lib/milvus/rdb}";
    let log = |milvus: &[&str]| said(milvus).log;
    assert_eq!((log(&[kafka]), log(&[pulsar])), (Some(MessageLog::Kafka), Some(MessageLog::Other)));
    assert_eq!(log(&[pulsar, "kafka: {brokerList: ''}", rocksmq]), Some(MessageLog::Other));
    assert_eq!(log(&[pulsar, kafka, "pulsar: {address: ''}"]), Some(MessageLog::Kafka));
    // Milvus joins the texts of a list.
    assert_eq!(log(&["kafka: {brokerList: ['k0:9092', 'k1:9092']}"]), Some(MessageLog::Kafka));
    assert_eq!(log(&[kafka, pulsar, "kafka: {brokerList: []}"]), Some(MessageLog::Other));
    let mapping = assemble(&layers("{}", &["kafka: {brokerList: {k0: 9092}}"]), &Overrides::default()).unwrap_err();
    assert_eq!(
        mapping.to_string(),
        "m0.yaml:1: kafka.brokerList: found a mapping (key: value), expected a text or a list of texts"
    );
    for contradicting in [
        "kafka: {brokerList: 'k0:9092'}\nkafka.brokerList: ''",
        "pulsar: {address: pulsar}\npulsar.address: ''",
        "kafka: {brokerList: [['k0:9092']]}",
    ] {
        assert!(assemble(&layers("{}", &[contradicting]), &Overrides::default()).is_err(), "{contradicting}");
    }
    for unclear in [&[][..], &[rocksmq], &[pulsar, kafka], &[rocksmq, kafka]] {
        assert_eq!(log(unclear), None, "{unclear:?}");
    }
    assert_eq!(said(&[rocksmq]).rocksmq_path.as_deref(), Some("/var/lib/milvus/rdb"));
    // The tool's own file is that of a whole Milvus at times, of which the operator takes only a part.
    assert_eq!(assemble(&layers(kafka, &[]), &Overrides::default()).unwrap().message_log.log, None);
}

#[test]
fn milvus_s_user_yaml_may_be_empty_and_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("user.yaml"), "# nothing yet\n").unwrap();
    let given = |name: &str| Overrides { milvus_config: vec![path(name)], ..Overrides::default() };
    assert_eq!(load(None, &given("user.yaml")).unwrap().meta_root.prefix(), "by-dev/meta/");
    let error = load(None, &given("none.yaml")).unwrap_err().to_string();
    assert!(error.contains("none.yaml: does not exist"), "{error}");
}
