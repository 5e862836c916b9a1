//! Holds the conversion against a second, independent implementation of the same rules: tests/model/, in Python.
//!
//! `MODEL_CASES` sets the number of random clusters of each test (400), `PYTHON` the interpreter (`python3`), and
//! `MODEL_CONTESTED` names shapes to generate that are not settled yet (tests/model/README.md).

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use bytes::Bytes;
use meta_migration::layout::keys::printable;
use meta_migration::migrate::{self, Inventory, Migration, Options, Record};
use meta_migration::plan::{Change, Phase, Plan};
use meta_migration::verify::{Invariant, Severity, Verifier};

const DEFAULT_CASES: usize = 400;
const REVISION: i64 = 7;
/// A test that fails shows no more cases and keys than this.
const SHOWN: usize = 5;

/// What only the 2.1 layout has: keys with these prefixes, and two more.
const SOURCE_PREFIXES: [&str; 9] = [
    "indexes/",
    "root-coord/collection-alias/",
    "root-coord/index/",
    "root-coord/segment-index/",
    "snapshots/root-coord/collection-alias/",
    "snapshots/root-coord/dd-msg-send_ts",
    "snapshots/root-coord/dd-operation_ts",
    "snapshots/root-coord/index/",
    "snapshots/root-coord/segment-index/",
];
const SOURCE_KEYS: [&str; 2] = ["root-coord/dd-msg-send", "root-coord/dd-operation"];

#[test]
fn random_clusters_become_what_the_model_makes_of_them() {
    let number = number_of_cases();
    check_all(Cases::start(&["--seeds", &format!("0..{number}")]), number, becomes_what_the_model_says);
}

#[test]
fn all_damage_is_named_and_nothing_else() {
    let number = number_of_cases();
    check_all(Cases::start(&["--damage", "--seeds", &format!("0..{number}")]), number, names_the_damage);
}

#[test]
fn real_metadata_becomes_what_the_model_makes_of_it() {
    for file in ["keys.jsonl", "with-sessions.jsonl"] {
        let file = manifest_dir().join("testdata/milvus-2.1.0").join(file);
        let cases = Cases::start(&["--root", "by-dev/meta/", "--file", file.to_str().unwrap()]);
        check_all(cases, 1, |case| {
            let warnings = migration(&case.keys).report.warnings;
            if !warnings.is_empty() {
                return Err(format!("it has nothing to warn of, but there is {warnings:#?}"));
            }
            becomes_what_the_model_says(case)
        });
    }
}

fn number_of_cases() -> usize {
    env::var("MODEL_CASES").map_or(DEFAULT_CASES, |number| number.parse().expect("MODEL_CASES is a number"))
}

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check_all(cases: Cases, number: usize, check: impl Fn(&Case) -> Result<(), String>) {
    let (mut seen, mut failures) = (0, Vec::new());
    for case in cases {
        seen += 1;
        if let Err(failure) = check(&case) {
            failures.push(format!("{}: {failure}", case.name));
        }
    }
    let shown = failures.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n\n");
    assert!(failures.is_empty(), "{} of {seen} cases fail:\n\n{shown}\n", failures.len());
    assert_eq!(seen, number, "cases");
}

fn becomes_what_the_model_says(case: &Case) -> Result<(), String> {
    let plan = plan(&case.keys);
    if !plan.problems.is_empty() {
        return Err(format!("problems that the model does not see: {:#?}", plan.problems));
    }
    let converted = carry_out(&plan, case.keys.clone())?;
    let differing: Vec<String> = converted
        .keys()
        .chain(case.result.keys())
        .filter(|key| converted.get(*key) != case.result.get(*key))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .take(SHOWN)
        .map(|key| {
            let [model, tool] = [&case.result, &converted].map(|keys| shown(keys.get(key)));
            format!("{}\n  model {model}\n  tool  {tool}", printable(key))
        })
        .collect();
    if !differing.is_empty() {
        return Err(format!("the values differ:\n{}", differing.join("\n")));
    }
    verify_finds_nothing(&converted)
}

/// What the model and the tool agree on is a complete 2.2 layout besides.
fn verify_finds_nothing(keys: &Keys) -> Result<(), String> {
    let mut verifier = Verifier::default();
    for (key, value) in keys {
        verifier.add(key, &Record { value: value.clone(), mod_revision: REVISION });
    }
    let findings = verifier.finish().findings;
    let has_collections = keys.keys().any(|key| key.starts_with(b"root-coord/collection/"));
    let unexpected: Vec<_> = findings
        .into_iter()
        .filter(|finding| match finding.invariant {
            // What the cluster was like before, which harms nobody.
            Invariant::AliasTargetExists | Invariant::SegmentIndexRows => finding.severity != Severity::Warning,
            // Snapshots without a plain key are history that moves along.
            Invariant::NewestSnapshotAgrees => finding.severity != Severity::Warning,
            Invariant::LayoutPresent => has_collections,
            _ => true,
        })
        .collect();
    if unexpected.is_empty() { Ok(()) } else { Err(format!("verify finds {unexpected:#?}")) }
}

fn shown(value: Option<&Bytes>) -> String {
    value.map_or_else(|| "(no such key)".to_owned(), |value| value.escape_ascii().to_string())
}

fn names_the_damage(case: &Case) -> Result<(), String> {
    let plan = plan(&case.keys);
    let roots = plan.problems.iter().filter(|problem| problem.caused_by.is_none());
    let named: BTreeSet<String> = roots.map(|problem| problem.key.clone()).collect();
    if named != case.must_name {
        return Err(format!("{:?} should be named, but not {named:?}", case.must_name));
    }
    let left: Vec<String> =
        carry_out(&plan, case.keys.clone())?.keys().filter(|key| is_source(key)).map(|key| printable(key)).collect();
    if left.is_empty() { Ok(()) } else { Err(format!("2.1 keys are left: {left:?}")) }
}

fn is_source(key: &[u8]) -> bool {
    SOURCE_PREFIXES.iter().any(|prefix| key.starts_with(prefix.as_bytes()))
        || SOURCE_KEYS.iter().any(|whole| key == whole.as_bytes())
}

fn plan(keys: &Keys) -> Plan {
    migration(keys).plan
}

fn migration(keys: &Keys) -> Migration {
    let mut inventory = Inventory::default();
    for (key, value) in keys {
        inventory.add(key.clone(), Record { value: value.clone(), mod_revision: REVISION });
    }
    migrate::plan(inventory, REVISION, &Options::default())
}

/// What etcd holds when all of the plan has been written, problems or not.
fn carry_out(plan: &Plan, mut keys: Keys) -> Result<Keys, String> {
    for phase in &plan.phases {
        write(phase, &mut keys)?;
    }
    Ok(keys)
}

fn write(phase: &Phase, keys: &mut Keys) -> Result<(), String> {
    let mut written = BTreeSet::new();
    for change in &phase.changes {
        match change {
            Change::Put { key, value } => {
                if !written.insert(key) {
                    return Err(format!("{} is put twice when {}", printable(key), phase.name));
                }
                keys.insert(key.clone(), value.clone());
            }
            Change::Delete { first, last, keys: expected } => {
                let gone: Vec<Bytes> = keys.range(first.clone()..=last.clone()).map(|(key, _)| key.clone()).collect();
                if gone.len() as u64 != *expected {
                    return Err(format!("{change:?} deletes {} keys", gone.len()));
                }
                for key in gone {
                    keys.remove(&key);
                }
            }
        }
    }
    Ok(())
}

type Keys = BTreeMap<Bytes, Bytes>;

/// A cluster, and what the model makes of it.
struct Case {
    name: String,
    keys: Keys,
    result: Keys,
    /// The keys that a report must name, as reports spell them.
    must_name: BTreeSet<String>,
}

/// Cases as tests/model/cases.py streams them.
struct Cases {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Cases {
    fn start(arguments: &[&str]) -> Self {
        let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script: PathBuf = manifest_dir().join("tests/model/cases.py");
        let mut command = Command::new(&python);
        // -B: no compiled files beside the sources.
        command.arg("-B").arg(script).args(arguments).stdout(Stdio::piped());
        if let Ok(shapes) = env::var("MODEL_CONTESTED") {
            command.arg("--contested").args(shapes.split_whitespace());
        }
        let mut process = command.spawn().unwrap_or_else(|error| panic!("cannot start {python}: {error}"));
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    fn read_keys(&mut self) -> Keys {
        (0..self.read_number()).map(|_| (self.read_bytes(), self.read_bytes())).collect()
    }

    fn read_text(&mut self) -> String {
        String::from_utf8(self.read_bytes().into()).unwrap()
    }

    fn read_bytes(&mut self) -> Bytes {
        let mut bytes = vec![0; self.read_number() as usize];
        self.output.read_exact(&mut bytes).expect("a whole case");
        bytes.into()
    }

    fn read_number(&mut self) -> u32 {
        let mut number = [0; 4];
        self.output.read_exact(&mut number).expect("a whole case");
        u32::from_le_bytes(number)
    }
}

impl Iterator for Cases {
    type Item = Case;

    fn next(&mut self) -> Option<Case> {
        if self.output.fill_buf().expect("cases").is_empty() {
            let status = self.process.wait().unwrap();
            assert!(status.success(), "the model ended with {status}; what it said is above");
            return None;
        }
        let (name, keys, result) = (self.read_text(), self.read_keys(), self.read_keys());
        let must_name = (0..self.read_number()).map(|_| printable(&self.read_bytes())).collect();
        Some(Case { name, keys, result, must_name })
    }
}
