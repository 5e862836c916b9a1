//! All documents: every link leads somewhere, every command is one, and the project has one address and one image.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::docs::blocks;

const IMAGE: &str = "ghcr.io/meta-migration/meta-migration";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder of the repository with one of these endings, with their text.
fn files(folder: &str, endings: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if endings.iter().any(|ending| entry.to_string_lossy().ends_with(ending)) {
                found.insert(entry.clone(), fs::read_to_string(&entry).unwrap());
            }
        }
    }
    found
}

/// Everything in Markdown that is written for people.
fn documents() -> BTreeMap<PathBuf, String> {
    let mut documents = files("docs", &[".md"]);
    for entry in fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "md") {
            documents.insert(entry.clone(), fs::read_to_string(&entry).unwrap());
        }
    }
    assert!(documents.len() > 12, "{:?}", documents.keys());
    documents
}

/// The text without its blocks of code, in which nothing is a link or a heading.
fn prose(markdown: &str) -> String {
    let mut inside = false;
    let outside = markdown.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// What leads to each heading, as GitHub makes it.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let prose = prose(markdown);
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let kept = heading
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
                .collect::<String>();
            kept.replace(' ', "-")
        })
        .collect()
}

fn links(markdown: &str) -> Vec<String> {
    let prose = prose(markdown);
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let documents = documents();
    let mut wrong = Vec::new();
    for (document, text) in &documents {
        for link in links(text).iter().filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            let Ok(target) = target.canonicalize() else {
                wrong.push(format!("{}: {link}: no such file", document.display()));
                continue;
            };
            if !anchor.is_empty() && !documents.get(&target).is_some_and(|text| anchors(text).contains(anchor)) {
                wrong.push(format!("{}: {link}: no such heading", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_readme_leads_to_every_page() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for page in documents().keys().filter(|page| page.parent().unwrap().ends_with("docs")) {
        let name = format!("docs/{}", page.file_name().unwrap().to_string_lossy());
        assert!(
            links(&readme).iter().any(|link| link.split('#').next() == Some(&name)),
            "README.md does not lead to {name}"
        );
    }
}

/// Words as the shell makes them of a simple command: no variables, nothing that runs.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == c => quote = None,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The calls of our program in a document: in blocks, with or without a prompt, and within a line.
fn calls(markdown: &str) -> Vec<String> {
    let in_blocks = ["sh", "console", "text"].iter().flat_map(|language| blocks(markdown, language));
    let lines: Vec<String> =
        in_blocks.flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let prose = prose(markdown);
    let spans = prose.split('`').skip(1).step_by(2).map(str::to_owned);
    let calls = lines.into_iter().chain(spans).filter_map(|line| {
        let call = line.trim().trim_start_matches("$ ").to_owned();
        call.starts_with("meta-migration ").then_some(call)
    });
    // Comments and redirections are the shell's.
    calls.map(|call| call.split(" #").next().and_then(|call| call.split(" > ").next()).unwrap().to_owned()).collect()
}

#[test]
fn every_call_of_the_program_is_understood() {
    let mut count = 0;
    for (document, text) in documents() {
        // What has dots in it stands for something, and a changelog tells of other versions.
        let is_shown_whole = |call: &String| !call.contains('…') && !call.contains("...");
        for call in calls(&text).into_iter().filter(is_shown_whole).filter(|_| !document.ends_with("CHANGELOG.md")) {
            count += 1;
            let understood = meta_migration::cli::parse_from(words(&call).into_iter().map(OsString::from));
            let error = understood.err().filter(clap::Error::use_stderr);
            assert!(error.is_none(), "{}: {call}\n{}", document.display(), error.unwrap());
        }
    }
    assert!(count > 20, "only {count} calls were found");
}

#[test]
fn every_block_of_commands_is_shell_and_names_scripts_that_are_there() {
    for (document, text) in documents() {
        for block in blocks(&text, "sh") {
            let checked = Command::new("bash").args(["-n", "-c", &block]).output().unwrap();
            assert!(
                checked.status.success(),
                "{}:\n{block}\n{}",
                document.display(),
                String::from_utf8_lossy(&checked.stderr)
            );
            let scripts =
                block.split_whitespace().filter(|word| word.starts_with("./scripts/") || word.starts_with("deploy/"));
            for script in scripts {
                assert!(root().join(script).exists(), "{}: {script} is not there", document.display());
            }
        }
    }
}

#[test]
fn there_is_one_image_of_one_version() {
    let mut texts = documents();
    texts.extend(files("deploy", &[".sh", ".yml", ".yaml"]));
    let version = env!("CARGO_PKG_VERSION");
    let mut count = 0;
    for (file, text) in texts.iter().filter(|(file, _)| !file.ends_with("CHANGELOG.md")) {
        let separators = |c: char| c.is_whitespace() || "`\"'()[]|,=<>".contains(c);
        for name in text.split(separators).filter(|word| word.contains("meta-migration:")) {
            let (repository, tag) = name.rsplit_once(':').unwrap();
            // A mapping's key in YAML, a place in an image, and the example of a mirror.
            if !repository.ends_with("meta-migration") || !tag.starts_with(|c: char| c.is_ascii_digit() || c == 'l') {
                continue;
            }
            count += 1;
            let is_a_mirror = repository == "registry:5000/meta-migration";
            assert!(is_a_mirror || repository == IMAGE, "{}: {name} is not {IMAGE}", file.display());
            let tag = tag.trim_end_matches(['.', ';', '}']);
            assert_eq!(tag.trim_end_matches("-root"), version, "{}: {name}", file.display());
        }
    }
    assert!(count > 10, "only {count} names were found");
}

#[test]
fn what_this_looks_for_is_found() {
    let text = "# A b, `c`: 1/2\n[x](y.md#z) `meta-migration status`\n```sh\n# no heading\nmeta-migration run --yes # go\n```\n";
    assert_eq!(anchors(text), BTreeSet::from(["a-b-c-12".to_owned()]));
    assert_eq!(links(text), ["y.md#z"]);
    assert_eq!(calls(text), ["meta-migration run --yes", "meta-migration status"]);
    assert_eq!(words("a 'b c' d\"e\"  f"), ["a", "b c", "de", "f"]);
}
