use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Document {
    Document::parse("f.yaml", text).unwrap()
}

fn refusal(text: &str) -> String {
    Document::parse("f.yaml", text).unwrap_err().to_string()
}

fn text(document: &Document, key: &str) -> Option<String> {
    document.text(key).unwrap().map(|setting| setting.value)
}

fn texts(document: &Document, key: &str) -> Vec<String> {
    document.texts(key).unwrap().unwrap_or_default().into_iter().map(|setting| setting.value).collect()
}

#[test]
fn a_value_is_found_by_dotted_key_with_its_line() {
    let document = parse("# comment\netcd:\n  ssl:\n    tlsMinVersion: 1.3 # why\n");
    let setting = document.text("etcd.ssl.tlsMinVersion").unwrap().unwrap();
    assert_eq!(
        (setting.value.as_str(), setting.source.to_string().as_str()),
        ("1.3", "f.yaml:4: etcd.ssl.tlsMinVersion")
    );
}

#[test]
fn flow_style_quotes_anchors_dotted_keys_and_other_spellings_are_all_read() {
    for yaml in [
        "etcd: {rootPath: by-dev}",
        "etcd: {\"rootPath\": 'by-dev'}",
        "x: &root by-dev\netcd:\n  rootPath: *root",
        "x: &etcd {rootPath: by-dev}\netcd: *etcd",
        "etcd.rootPath: by-dev",
        "ETCD:\n  ROOTPATH: by-dev",
        "etcd:\n  rootpath: other\n  rootPath: by-dev",
        "etcd: {a: 1}\ncmd: {}\netcd: {rootPath: by-dev}",
        "\u{feff}etcd:\r\n  rootPath: by-dev\r\n",
        "%YAML 1.1\n---\netcd:\n  rootPath: by-dev\n---\n",
        "etcd:\n  rootPath: >-\n    by-dev\n",
    ] {
        assert_eq!(text(&parse(yaml), "etcd.rootPath").as_deref(), Some("by-dev"), "{yaml}");
    }
}

#[test]
fn what_is_null_or_empty_counts_as_absent() {
    for yaml in ["a:", "a: ~", "a: null", "a: ''", "b: 1", "{}", "a: &x", "a: NULL"] {
        let document = parse(yaml);
        assert_eq!(text(&document, "a"), None, "{yaml}");
        assert_eq!(document.boolean("a").unwrap(), None, "{yaml}");
        assert_eq!(document.texts("a").unwrap(), None, "{yaml}");
        assert_eq!(text(&document, "a.b.c"), None, "{yaml}");
    }
    assert_eq!(parse("a: ''").text_or_empty("a").unwrap().unwrap().value, "");
    assert_eq!(parse("a:").text_or_empty("a").unwrap(), None);
    assert_eq!(text(&parse("a: 'null'"), "a").as_deref(), Some("null"));
}

#[test]
fn numbers_and_booleans_are_texts_as_they_are_written() {
    for written in ["1.30", "0123", "1e3", "true", "2.1.4", "v2.1.4"] {
        assert_eq!(text(&parse(&format!("a: {written}")), "a").as_deref(), Some(written));
    }
}

#[test]
fn booleans_may_be_quoted() {
    for (written, expected) in [("true", true), ("'true'", true), ("FALSE", false), ("\"False\"", false)] {
        assert_eq!(parse(&format!("a: {written}")).boolean("a").unwrap().unwrap().value, expected, "{written}");
    }
}

#[test]
fn a_wrong_type_is_named_with_file_line_key_and_what_was_expected() {
    for (yaml, expected) in [
        ("a:\n  b: [x]", "f.yaml:2: a.b: found a list, expected true or false"),
        ("a:\n  b: {c: d}", "f.yaml:2: a.b: found a mapping (key: value), expected true or false"),
        ("a:\n  b: 5", "f.yaml:2: a.b: found the number 5, expected true or false"),
        ("a:\n  b: yes", "f.yaml:2: a.b: found the text \"yes\", expected true or false"),
        ("a: true", "f.yaml:1: a: found the boolean true, expected a mapping (key: value)"),
        ("a: [b]", "f.yaml:1: a: found a list, expected a mapping (key: value)"),
    ] {
        assert_eq!(parse(yaml).boolean("a.b").unwrap_err().to_string(), expected, "{yaml}");
    }
    assert!(parse("a: [b]").text("a").unwrap_err().to_string().ends_with("found a list, expected a text"));
    assert!(parse("a: [{b: c}]").texts("a").unwrap_err().to_string().contains("found a mapping"));
    assert!(parse("a: []").texts("a").unwrap_err().to_string().contains("found an empty list"));
}

#[test]
fn a_repeated_list_is_the_union_in_order() {
    let document =
        parse("etcd:\n  endpoints:\n    - a:1\n  endpoints:\n    - b:1\n  endpoints: [c:1, ~]\n  endpoints: d:1,e:1\n");
    assert_eq!(texts(&document, "etcd.endpoints"), ["a:1", "b:1", "c:1", "d:1,e:1"]);
}

#[test]
fn a_repeated_key_is_accepted_with_the_same_value_and_refused_with_another() {
    assert_eq!(text(&parse("a: 1.3\na: '1.3'"), "a").as_deref(), Some("1.3"));
    assert!(parse("a: true\na: 'True'\na: ").boolean("a").unwrap().unwrap().value);
    let error = parse("b: 0\na: x\na: y").text("a").unwrap_err().to_string();
    assert!(error.starts_with("f.yaml:3: a: ") && error.contains("line 2"), "{error}");
}

#[test]
fn merging_keys_is_refused_where_it_would_change_an_answer_and_ignored_elsewhere() {
    let document = parse("x: &x {rootPath: other}\netcd:\n  <<: *x\ny:\n  <<: *x\nz: {k: v}");
    let error = document.text("etcd.rootPath").unwrap_err().to_string();
    assert!(error.starts_with("f.yaml:3: <<:") && error.contains("write the keys out"), "{error}");
    assert_eq!(text(&document, "z.k").as_deref(), Some("v"));
}

#[test]
fn what_is_no_usable_yaml_is_refused_with_file_and_line() {
    for (yaml, expected) in [
        ("", "f.yaml: is empty"),
        ("\n# nothing\n", "f.yaml: is empty"),
        ("---\n...\n", "f.yaml: is empty"),
        ("- a", "f.yaml:1: found a list"),
        ("hello", "f.yaml:1: found a text"),
        ("a: b\n---\nc: d\n", "f.yaml:3: a second YAML document"),
        ("a: [b", "f.yaml:2: column 1: "),
        ("a: b: c", "f.yaml:1: column 5: "),
        ("a: *nowhere", "f.yaml:1: column 4: "),
        ("a: &a [*a]", "f.yaml:1: an alias (*name) inside of what it stands for"),
        ("a: b\0", "f.yaml:1: column 5: "),
    ] {
        let error = refusal(yaml);
        assert!(error.starts_with(expected), "{yaml:?}: {error}");
    }
    assert!(!refusal("secret-password").contains("secret"), "a password file given by mistake must not be shown");
}

#[test]
fn tabs_are_named_as_such() {
    for yaml in ["etcd:\n\tendpoints: x\n", "etcd:\n  a: b\n\tc: d\n", "etcd:\n  a:\n\t- x\n"] {
        let error = refusal(yaml);
        assert!(error.contains("YAML wants blanks") && error.contains(": column "), "{yaml:?}: {error}");
    }
    assert!(!refusal("a: [b").contains("tab"));
}

#[test]
fn nesting_has_a_limit() {
    let nested = |levels: usize| format!("a: {}x{}", "[".repeat(levels), "]".repeat(levels));
    assert!(Document::parse("f.yaml", &nested(MAX_DEPTH - 1)).is_ok());
    assert!(refusal(&nested(MAX_DEPTH)).contains("nested deeper than 64 levels"));
    assert!(refusal(&"- ".repeat(100_000)).contains("nested deeper"));
}

#[test]
fn neither_a_bomb_nor_a_chain_of_aliases_costs_anything() {
    let mut bomb = "a0: &a0 {k: [x, x]}\n".to_owned();
    for level in 1..5_000 {
        let below = level - 1;
        bomb += &format!("a{level}: &a{level} {{k: *a{below}, k: *a{below}, K: *a{below}}}\n");
    }
    assert!(parse(&bomb).text("a4999.k.k.k.k.k.k.k.k").unwrap_err().to_string().contains("found a mapping"));

    let same = "etcd: &etcd {endpoints: x}\n".to_owned() + &"etcd: *etcd\n".repeat(20_000);
    assert_eq!(texts(&parse(&same), "etcd.endpoints"), ["x"]);
}

#[test]
fn long_values_are_cut_in_errors() {
    let error = parse(&format!("a: {}", "ä".repeat(1000))).boolean("a").unwrap_err().to_string();
    assert!(error.chars().count() < 200 && error.contains('…'), "{error}");
}

fn look_at_everything(text: &str) {
    let error = match Document::parse("f.yaml", text) {
        Err(error) => Some(error),
        Ok(document) => ["a", "a.b", "etcd.ssl.enabled", "etcd.endpoints"]
            .iter()
            .find_map(|key| document.boolean(key).err().or(document.text(key).err()).or(document.texts(key).err())),
    };
    if let Some(error) = error.map(|error| error.to_string()) {
        assert!(error.starts_with("f.yaml:") && !error.contains('\n'), "{error:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        look_at_everything(&text);
    }

    #[test]
    fn nothing_made_of_yaml_makes_the_parser_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "a", "b", ":", ": ", " ", "\n", "\n  ", "\t", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "!", "!!str ", "|", ">",
                "'", "\"", "\\", "#", "%", "---\n", "...\n", "? ", "<<", "\u{feff}", "\0", "\r", "etcd", "endpoints", "ssl", "1.3", "~", "true",
            ]),
            0..60,
        )
    ) {
        look_at_everything(&words.concat());
    }
}
