use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

mod of_milvus;

fn read(yaml: &str) -> Config {
    read_with(yaml, &Overrides::default())
}

fn layers(yaml: &str, milvus: &[&str]) -> Layers {
    let of_milvus = |(number, yaml): (usize, &&str)| Document::parse(&format!("m{number}.yaml"), yaml).unwrap();
    Layers { own: Document::parse("f.yaml", yaml).unwrap(), milvus: milvus.iter().enumerate().map(of_milvus).collect() }
}

fn read_with(yaml: &str, given: &Overrides) -> Config {
    assemble(&layers(yaml, &[]), given).unwrap()
}

fn refusal(yaml: &str) -> String {
    refusal_with(yaml, &Overrides::default())
}

fn refusal_with(yaml: &str, given: &Overrides) -> String {
    let error = assemble(&layers(yaml, &[]), given).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn uris(config: &Config) -> Vec<&str> {
    config.etcd.endpoints.iter().map(|endpoint| endpoint.uri.as_str()).collect()
}

/// A folder with the files that TLS settings can name.
fn pem_files() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    for name in ["ca", "cert", "key"] {
        fs::write(path.join(name), "").unwrap();
    }
    (folder, move |name| path.join(name))
}

#[test]
fn without_file_and_flags_the_defaults_hold() {
    let config = load(None, &Overrides::default()).unwrap();
    assert_eq!(uris(&config), ["http://localhost:2379"]);
    assert_eq!(config.meta_root.prefix(), "by-dev/meta/");
    assert_eq!(config.etcd.request_timeout, Duration::from_secs(10));
    assert_eq!((config.etcd.tls, config.etcd.auth, config.command), (None, None, None));
    assert_eq!((config.source_version, config.target_version, config.backup_file), (None, None, None));
    assert!(!config.run_with_backup && !config.skip_invalid && config.warnings.is_empty());
}

#[test]
fn a_whole_milvus_yaml_with_cmd_and_config_added_is_read() {
    let yaml = include_str!("testdata/milvus.yaml");
    let config = read(yaml);
    assert_eq!(uris(&config), ["http://etcd-0.etcd:2379", "http://etcd-1.etcd:2379"]);
    assert_eq!(config.meta_root.prefix(), "my-release/meta/");
    assert_eq!(config.command, Some(CommandType::Run));
    assert!(config.run_with_backup && !config.skip_invalid);
    assert_eq!(config.source_version, Some(Version::new(2, 1, 4)));
    assert_eq!(config.target_version, Some(Version::new(2, 2, 16)));
    assert_eq!(config.backup_file, Some("/milvus/data/migration.bak".into()));
    assert_eq!(config.etcd.request_timeout, Duration::from_millis(5000));
    // Its ssl section is the template's, with files that are not there: TLS is off, so nobody looks.
    assert_eq!((config.etcd.tls, config.etcd.auth), (None, None));
}

#[test]
fn the_operator_s_repeated_endpoints_are_all_taken() {
    // As the operator's template renders three endpoints, trailing blank included.
    let yaml =
        "etcd:\n  endpoints:\n    - a:2379\n  endpoints:\n    - b:2379\n  endpoints:\n    - a:2379\n  rootPath: x \n";
    assert_eq!(uris(&read(yaml)), ["http://a:2379", "http://b:2379"]);
}

#[test]
fn endpoints_are_a_list_or_a_text_with_commas() {
    for list in
        ["[a:1, b:1]", "a:1,b:1", "' a:1 , b:1,'", "[' a:1,b:1']", "\n    - a:1\n    -\n    - b:1", "[a:1, A:1, b:1]"]
    {
        assert_eq!(uris(&read(&format!("etcd:\n  endpoints: {list}"))), ["http://a:1", "http://b:1"], "{list}");
    }
    assert_eq!(uris(&read("etcd: {endpoints: }")), ["http://localhost:2379"]);
}

#[test]
fn bad_endpoints_are_refused_with_file_line_and_text() {
    for (list, expected) in [
        ("[a:1, 'b c']", "f.yaml:2: etcd.endpoints: \"b c\" is no address"),
        ("[a: 1]", "f.yaml:2: etcd.endpoints: found a mapping"),
        ("[]", "f.yaml:2: etcd.endpoints: found an empty list"),
        ("' , '", "f.yaml:2: etcd.endpoints: no address in it"),
        ("{a: 1}", "f.yaml:2: etcd.endpoints: found a mapping"),
    ] {
        let error = refusal(&format!("etcd:\n  endpoints: {list}"));
        assert!(error.starts_with(expected), "{list}: {error}");
    }
    let given = Overrides { endpoints: Some("a:b".into()), ..Overrides::default() };
    assert!(refusal_with("{}", &given).starts_with("--endpoints: \"a:b\" is no address"));
}

#[test]
fn what_is_given_goes_before_the_file() {
    let yaml = "etcd: {endpoints: file:1, rootPath: file, metaSubPath: file, requestTimeout: 1}\n\
                config: {sourceVersion: 2.1.0, targetVersion: 2.2.0, backupFilePath: /file}";
    let given = Overrides {
        endpoints: Some("a:1,b:1".into()),
        root_path: Some("r".into()),
        meta_sub_path: Some("m".into()),
        request_timeout: Some(Duration::from_millis(2)),
        source_version: Some(Version::new(2, 1, 4)),
        target_version: Some(Version::new(2, 4, 0)),
        backup_file: Some("/flag".into()),
        ..Overrides::default()
    };
    let (from_file, config) = (read(yaml), read_with(yaml, &given));
    assert_eq!((uris(&from_file), uris(&config)), (vec!["http://file:1"], vec!["http://a:1", "http://b:1"]));
    assert_eq!((from_file.meta_root.prefix().as_str(), config.meta_root.prefix().as_str()), ("file/file/", "r/m/"));
    assert_eq!(config.etcd.request_timeout, Duration::from_millis(2));
    assert_eq!((config.source_version, config.target_version), (given.source_version, given.target_version));
    assert_eq!((from_file.backup_file, config.backup_file), (Some("/file".into()), Some("/flag".into())));
}

#[test]
fn what_is_given_spares_the_file_s_mistakes_in_the_same_key() {
    let given = Overrides { endpoints: Some("a:1".into()), ..Overrides::default() };
    assert_eq!(uris(&read_with("etcd: {endpoints: 'no address'}", &given)), ["http://a:1"]);
}

#[test]
fn an_empty_meta_root_is_refused() {
    for etcd in ["{rootPath: '', metaSubPath: ''}", "{rootPath: /, metaSubPath: ''}", "{rootPath: /, metaSubPath: /}"] {
        let error = refusal(&format!("etcd: {etcd}"));
        assert!(error.starts_with("f.yaml:1: etcd.rootPath: ") && error.contains("etcd.metaSubPath"), "{error}");
    }
    assert_eq!(read("etcd: {rootPath: ''}").meta_root.prefix(), "meta/");
    assert_eq!(read("etcd: {rootPath: }").meta_root.prefix(), "by-dev/meta/");
    assert_eq!(read("etcd: {rootPath: /dev}").meta_root.prefix(), "/dev/meta/");
}

#[test]
fn another_metastore_and_an_embedded_etcd_are_refused_with_the_way_round() {
    let error = refusal("metastore:\n  type: mysql");
    assert!(error.starts_with("f.yaml:2: metastore.type: found \"mysql\", expected etcd"), "{error}");
    assert_eq!(read("metastore: {type: ETCD}"), read("{}"));
    let error = refusal("etcd:\n  use:\n    embed: true");
    assert!(error.starts_with("f.yaml:3: etcd.use.embed: ") && error.contains("etcd --data-dir <dir>"), "{error}");
    assert_eq!(read("etcd: {use: {embed: false}}"), read("{}"));
}

#[test]
fn commands_are_read_in_any_case_and_others_refused_with_the_list() {
    for (text, expected) in
        [("run", CommandType::Run), ("Backup", CommandType::Backup), ("ROLLBACK", CommandType::Rollback)]
    {
        assert_eq!(read(&format!("cmd: {{type: {text}}}")).command, Some(expected));
    }
    for text in ["migrate", "'run '", "[run]", "1"] {
        let error = refusal(&format!("cmd: {{type: {text}}}"));
        assert!(
            error.starts_with("f.yaml:1: cmd.type: found ") && error.ends_with("run, backup or rollback"),
            "{error}"
        );
    }
}

#[test]
fn booleans_of_cmd_are_read_quoted_or_not_and_others_refused() {
    let config = read("cmd: {runWithBackup: true, skipInvalid: 'true'}");
    assert!(config.run_with_backup && config.skip_invalid);
    for key in ["runWithBackup", "skipInvalid"] {
        let error = refusal(&format!("cmd: {{{key}: yes}}"));
        assert_eq!(error, format!("f.yaml:1: cmd.{key}: found the text \"yes\", expected true or false"));
    }
}

#[test]
fn versions_need_three_numbers() {
    assert_eq!(read("config: {sourceVersion: v2.1.4}").source_version, Some(Version::new(2, 1, 4)));
    for (text, advice) in [("2.1", "write 2.1.4"), ("'2.1'", "write 2.1.4"), ("2.0", "write 2.0.0"), ("two", "2.1.4")] {
        let error = refusal(&format!("config:\n  sourceVersion: {text}"));
        assert!(error.starts_with("f.yaml:2: config.sourceVersion: ") && error.contains(advice), "{error}");
    }
    assert!(refusal("config: {targetVersion: 2.2}").ends_with("write 2.2.0"));
    assert!(refusal("config: {targetVersion: [2]}").ends_with("expected a text"));
}

#[test]
fn the_timeout_is_a_positive_number_of_milliseconds() {
    for text in ["1500", "'1500'"] {
        assert_eq!(
            read(&format!("etcd: {{requestTimeout: {text}}}")).etcd.request_timeout,
            Duration::from_millis(1500)
        );
    }
    for text in ["0", "-1", "1.5", "10s", "86400001", "99999999999999999999", "true", "[1]"] {
        let error = refusal(&format!("etcd: {{requestTimeout: {text}}}"));
        assert!(error.starts_with("f.yaml:1: etcd.requestTimeout: ") && error.contains("milliseconds"), "{error}");
    }
}

#[test]
fn ssl_enabled_or_https_switches_tls_on() {
    let tls = |yaml: &str| read(yaml).etcd.tls.map(|tls| tls.min_version);
    assert_eq!(tls("etcd: {endpoints: 'a:1'}"), None);
    assert_eq!(tls("etcd: {endpoints: 'a:1', ssl: {enabled: true}}"), Some(TlsVersion::V1_3));
    assert_eq!(tls("etcd: {endpoints: 'https://a:1'}"), Some(TlsVersion::V1_3));
    assert_eq!(tls("etcd: {endpoints: 'https://a:1', ssl: {tlsMinVersion: 1.2}}"), Some(TlsVersion::V1_2));
    let mixed = read("etcd: {endpoints: ['http://a:1', 'https://b:1', 'c:1']}");
    assert_eq!(uris(&mixed), ["http://a:1", "https://b:1", "http://c:1"]);
    let given = Overrides { tls: Some(true), ..Overrides::default() };
    assert_eq!(uris(&read_with("etcd: {endpoints: 'a:1', ssl: {enabled: false}}", &given)), ["https://a:1"]);
    let error = refusal("etcd: {endpoints: 'http://a:1', ssl: {enabled: true}}");
    assert!(
        error.starts_with("f.yaml:1: etcd.endpoints: \"http://a:1\"") && error.contains("etcd.ssl.enabled"),
        "{error}"
    );
}

#[test]
fn old_versions_of_tls_are_raised_with_a_warning_and_nonsense_is_refused() {
    let yaml = |version: &str| format!("etcd: {{ssl: {{enabled: true, tlsMinVersion: {version}}}}}");
    for (version, expected, warnings) in [
        ("1.0", TlsVersion::V1_2, 1),
        ("'1.1'", TlsVersion::V1_2, 1),
        ("1.2", TlsVersion::V1_2, 0),
        ("1.3", TlsVersion::V1_3, 0),
        ("\"1.3\"", TlsVersion::V1_3, 0),
    ] {
        let config = read(&yaml(version));
        assert_eq!(config.etcd.tls.unwrap().min_version, expected, "{version}");
        assert_eq!(config.warnings.len(), warnings, "{version}");
        assert!(config.warnings.iter().all(|warning| warning.contains("etcd.ssl.tlsMinVersion")));
    }
    for version in ["1.4", "1", "TLS1.2", "1.30"] {
        let error = refusal(&yaml(version));
        assert!(error.starts_with("f.yaml:1: etcd.ssl.tlsMinVersion: ") && error.ends_with("1.2 or 1.3"), "{error}");
    }
}

#[test]
fn certificates_must_exist_and_come_with_their_key() {
    let (folder, path) = pem_files();
    let yaml = |names: &[(&str, &str)]| {
        let files: String = names.iter().map(|(key, name)| format!("    {key}: {}\n", path(name).display())).collect();
        format!("etcd:\n  ssl:\n    enabled: true\n{files}")
    };
    let tls = read(&yaml(&[("tlsCACert", "ca"), ("tlsCert", "cert"), ("tlsKey", "key")])).etcd.tls.unwrap();
    assert_eq!((tls.ca, tls.cert, tls.key), (Some(path("ca")), Some(path("cert")), Some(path("key"))));

    let alone = refusal(&yaml(&[("tlsCert", "cert")]));
    assert!(alone.starts_with("f.yaml:4: etcd.ssl.tlsCert: ") && alone.contains("etcd.ssl.tlsKey"), "{alone}");
    let alone = refusal(&yaml(&[("tlsKey", "key")]));
    assert!(alone.starts_with("f.yaml:4: etcd.ssl.tlsKey: ") && alone.contains("etcd.ssl.tlsCert"), "{alone}");
    let missing = refusal(&yaml(&[("tlsCACert", "nowhere")]));
    assert!(
        missing.starts_with("f.yaml:4: etcd.ssl.tlsCACert: ") && missing.contains("nowhere does not exist"),
        "{missing}"
    );
    let directory = refusal(&yaml(&[("tlsCACert", "")]));
    assert!(directory.contains("is a directory") && directory.contains("docker run -v"), "{directory}");

    let given = Overrides { tls_key: Some(path("key")), ..Overrides::default() };
    assert!(refusal_with(&yaml(&[]), &given).starts_with("--tls-key: "));
    assert!(refusal_with("{}", &given).contains("no endpoint uses TLS"));
    drop(folder);
}

#[test]
fn logging_in_needs_user_and_password() {
    let auth = |yaml: &str, given: &Overrides| {
        read_with(yaml, given).etcd.auth.map(|auth| (auth.user, auth.password.reveal().to_owned()))
    };
    let who = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
    let none = Overrides::default();
    let password = Overrides { password: Some("env".to_owned().into()), ..none.clone() };
    let other = Overrides { user: Some("other".into()), ..password.clone() };
    let same = Overrides { user: Some("root".into()), ..none.clone() };
    let enabled = "etcd: {auth: {enabled: true, userName: root, password: 1234}}";
    let disabled = "etcd: {auth: {enabled: false, userName: root, password: file}}";
    assert_eq!(auth(enabled, &none), who("root", "1234"));
    assert_eq!(auth(enabled, &password), who("root", "env"));
    assert_eq!(auth(enabled, &other), who("other", "env"));
    assert_eq!(auth(disabled, &none), None);
    assert_eq!(auth(disabled, &same), who("root", "file"));
    assert_eq!(auth("{}", &other), who("other", "env"));
    assert_eq!(auth("{}", &password), None);
    assert_eq!(read_with("{}", &password).warnings.len(), 1);

    for user in ["", "userName: ''", "userName: "] {
        let error = refusal(&format!("etcd: {{auth: {{enabled: true, {user}}}}}"));
        assert!(error.starts_with("f.yaml:1: etcd.auth.enabled: ") && error.contains("etcd.auth.userName"), "{error}");
    }
    let error = refusal("etcd: {auth: {enabled: true, userName: root}}");
    assert!(error.starts_with("f.yaml:1: etcd.auth.userName: ") && error.contains(PASSWORD_VARIABLE), "{error}");
    // Another user's password is not tried.
    let other = Overrides { user: Some("other".into()), ..none };
    assert!(refusal_with(enabled, &other).starts_with("--user: the password is missing"));
}

#[test]
fn a_password_never_shows() {
    let config = read("etcd: {auth: {enabled: true, userName: root, password: s3cret}}");
    let given = Overrides { password: Some("s3cret".to_owned().into()), ..Overrides::default() };
    let password = given.password.clone().unwrap();
    for shown in
        [format!("{config:?}"), format!("{config:#?}"), format!("{given:?}"), format!("{password} {password:?}")]
    {
        assert!(!shown.contains("s3cret") && shown.contains("***"), "{shown}");
    }
    let twice = refusal("etcd: {auth: {enabled: true, userName: root, password: s3cret, password: t4cret}}");
    assert!(!twice.contains("cret,") && !twice.contains("s3") && !twice.contains("t4"), "{twice}");
}

#[test]
fn a_path_or_root_with_control_characters_tears_no_line_apart() {
    let ca = refusal("etcd:\n  ssl: {enabled: true, tlsCACert: \"/no\\nwhere\\e\"}\n");
    assert!(ca.starts_with(r"f.yaml:2: etcd.ssl.tlsCACert: /no\nwhere\x1b does not exist"), "{ca}");
    let root = refusal("etcd: {rootPath: \"by\\ndev\"}\n");
    assert!(root.contains(r#"etcd.rootPath: "by\ndev""#) && root.contains("make no prefix of keys"), "{root}");
}

#[test]
fn a_misspelt_key_of_ours_stops_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.yaml");
    fs::write(&path, "config:\n  backupFile: /b\n").unwrap();
    let error = load(Some(&path), &Overrides::default()).unwrap_err().to_string();
    assert!(
        error.contains("f.yaml:2: config.backupFile: this key is not known") && error.contains("config.backupFilePath"),
        "{error}"
    );
}

#[test]
fn keys_that_are_not_ours_may_hold_anything() {
    assert_eq!(read("a: [1, {b: &x c}]\n? [complex]\n: *x\n1: 2\nmetastore: {x: !y z}\n<: {<<: 1}"), read("{}"));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("latin1"), b"etcd:\n  rootPath: gr\xfcn\n").unwrap();
    fs::write(path("large"), " ".repeat((1 << 20) + 1)).unwrap();
    fs::create_dir(path("directory")).unwrap();
    for (name, expected) in [
        ("missing", ": does not exist: check the path"),
        ("empty", ": is empty, expected keys"),
        ("latin1", ":2: is not UTF-8 text"),
        ("large", ": is larger than 1048576 bytes"),
        ("directory", ": is a directory, a file is expected (if it comes from docker run -v"),
    ] {
        let error = load(Some(&path(name)), &Overrides::default()).unwrap_err();
        let expected = format!("{}{expected}", path(name).display());
        for shown in [format!("{error}"), format!("{error:#}")] {
            assert!(shown.starts_with(&expected) && !shown.contains('\n'), "{shown}");
        }
    }
}

proptest! {
    #[test]
    fn no_file_makes_loading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.yaml");
        fs::write(&path, bytes).unwrap();
        let _ = load(Some(&path), &Overrides::default());
    }

    #[test]
    fn no_value_makes_reading_panic(
        key in prop::sample::select(vec![
            "etcd.endpoints", "etcd.rootPath", "etcd.metaSubPath", "etcd.requestTimeout", "etcd.ssl.enabled", "etcd.auth.enabled",
            "cmd.type", "cmd.skipInvalid", "config.sourceVersion", "config.backupFilePath", "metastore.type", "etcd.use.embed",
        ]),
        value in any::<String>(),
    ) {
        // JSON is YAML.
        let yaml = serde_json::json!({ key: value }).to_string();
        if let Ok(own) = Document::parse("f.yaml", &yaml) {
            let error = assemble(&Layers { own, milvus: Vec::new() }, &Overrides::default()).err();
            prop_assert!(error.is_none_or(|error| !error.to_string().contains('\n')));
        }
    }
}
