//! Holds the conversion against a second, independent implementation of the same rules: tests/model/, in Python.
//!
//! `MODEL_CASES` sets the number of random clusters of each test (400), `PYTHON` the interpreter (`python3`), and
//! `MODEL_CONTESTED` names shapes to generate that are not settled yet (tests/model/README.md).

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use bytes::Bytes;
use meta_migration::catalog::check::check;
use meta_migration::catalog::records::Records;
use meta_migration::catalog::{self, Conversion, Options};
use meta_migration::history::{History, Operation};
use meta_migration::layout::families::{Family, Side};
use meta_migration::layout::keys::{HISTORY, family_of, printable};
use meta_migration::layout::messages::common::{FieldBinlog, KeyValuePair};
use meta_migration::layout::messages::target::FieldIndex;
use meta_migration::layout::wire;
use meta_migration::plan::{Change, Phase, Plan, opening_of_run};
use meta_migration::state::{Situation, State};
use meta_migration::version::{self, Layout};
use prost::Message;

const DEFAULT_CASES: usize = 400;
/// A test that fails shows no more cases and keys than this.
const SHOWN: usize = 5;

#[test]
fn random_clusters_become_what_the_model_makes_of_them() {
    let number = number_of_cases();
    check_all(Cases::start(&["any", "--seeds", &format!("0..{number}")]), number, becomes_what_the_model_says);
}

#[test]
fn all_damage_is_named_and_nothing_else() {
    let number = number_of_cases();
    check_all(Cases::start(&["any", "--damage", "--seeds", &format!("0..{number}")]), number, names_the_damage);
}

#[test]
fn an_interrupted_run_ends_as_one_that_was_not() {
    let number = number_of_cases();
    check_all(
        Cases::start(&["any", "--interrupted", "--seeds", &format!("0..{number}")]),
        number,
        becomes_what_the_model_says,
    );
}

#[test]
fn real_metadata_becomes_what_the_model_makes_of_it() {
    for file in ["keys.jsonl", "with-sessions.jsonl"] {
        let file = manifest_dir().join("testdata/milvus-2.1.0").join(file);
        for target in ["2.2.0", "2.2.16", "2.3.5", "2.4.23"] {
            let cases = Cases::start(&[target, "--root", "by-dev/meta/", "--file", file.to_str().unwrap()]);
            check_all(cases, 1, |case| {
                let warnings = case.converted().report.warnings;
                if !warnings.is_empty() {
                    return Err(format!("it has nothing to warn of, but there is {warnings:#?}"));
                }
                becomes_what_the_model_says(case)
            });
        }
    }
}

#[test]
fn metadata_of_a_milvus_that_has_lived_becomes_what_the_model_makes_of_it() {
    let exported = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&exported, common::lived()).unwrap();
    let file = exported.path().to_str().unwrap();
    for target in ["2.2.0", "2.2.16", "2.3.5", "2.4.23"] {
        let cases = Cases::start(&[target, "--root", "by-dev/meta/", "--file", file]).map(with_shares_of_the_tool);
        check_all(cases, 1, becomes_what_the_model_says);
    }
}

/// Which field's sizes share the rows of a compacted segment out is not settled (tests/model/README.md, `sizes-differ-by-field`), and both
/// are estimates: the tool's count, where all of them come to as many rows as the model's.
fn with_shares_of_the_tool(mut case: Case) -> Case {
    let conversion = case.converted();
    let converted = carry_out(&case, &conversion).expect("a conversion that can be carried out");
    let rows = |value: &Bytes| {
        let logs = FieldBinlog::decode(value.clone()).expect("a message").binlogs;
        logs.iter().map(|log| log.entries_num).sum::<i64>()
    };
    let is_shared = |key: &Bytes| {
        let ids = printable(key);
        family_of(key) == Family::Binlog
            && conversion.report.segments.rows_shared.iter().any(|id| ids.split('/').any(|part| part == id.to_string()))
    };
    for (key, model) in case.result.iter_mut().filter(|(key, _)| is_shared(key)) {
        if let Some(tool) = converted.get(key).filter(|tool| rows(tool) == rows(model)) {
            *model = tool.clone();
        }
    }
    case
}

fn number_of_cases() -> usize {
    env::var("MODEL_CASES").map_or(DEFAULT_CASES, |number| number.parse().expect("MODEL_CASES is a number"))
}

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check_all(cases: impl Iterator<Item = Case>, number: usize, check: impl Fn(&Case) -> Result<(), String>) {
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
    let situation = Situation::of(&case.records()).map_err(|error| error.to_string())?;
    let counted = case.keys.iter().fold(Records::default(), |mut records, (key, value)| {
        records.add_bulk_counted(key, value);
        records
    });
    // As `backup` sees it, which keeps of most records no more than their number.
    if (counted.keys(), Situation::of(&counted).as_ref()) != (case.records().keys(), Ok(&situation)) {
        return Err(format!("with the bulk counted the state is another than {situation:?}"));
    }
    let is_expected = match (case.keys.contains_key(HISTORY.as_bytes()), situation.state) {
        (true, state) => state == State::RunInterrupted,
        (false, state) => matches!(state, State::Ready | State::NothingToMigrate),
    };
    if !is_expected {
        return Err(format!("the state is {:?}", situation.state));
    }
    let conversion = case.converted();
    if !conversion.problems.is_empty() {
        return Err(format!("problems that the model does not see: {:#?}", conversion.problems));
    }
    let converted = carry_out(case, &conversion)?;
    let is_free = |key: &Bytes| {
        [&b"root-coord/index/0/0"[..], b"indexes/0", b"queryCoord-dmChannelWatchInfo/0/0"].contains(&&**key)
    };
    let differ = |key: &&Bytes| match (converted.get(*key), case.result.get(*key)) {
        // The values of these tripwires are free.
        (Some(_), Some(_)) if is_free(key) => false,
        // What is not known of a file stays where it stood, and the model puts it at the end.
        (Some(tool), Some(model)) if is_log(key) => sorted_logs(tool) != sorted_logs(model),
        // Which JSON is json.dumps' own the tool judges by its blanks alone, and the model by its numbers and letters, too.
        (Some(tool), Some(model)) if family_of(key) == Family::FieldIndex => !is_same_index(tool, model),
        (tool, model) => tool != model,
    };
    let differing: Vec<String> = converted
        .keys()
        .chain(case.result.keys())
        .filter(differ)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .take(SHOWN)
        .map(|key| {
            let [model, tool] = [&case.result, &converted].map(|keys| shown(keys.get(key)));
            format!("{}\n  model {model}\n  tool  {tool}", printable(key))
        })
        .collect();
    if !differing.is_empty() {
        return Err(format!("for {} the values differ:\n{}", case.target, differing.join("\n")));
    }
    let errors: Vec<_> = check(&converted, Some(case.layout())).errors().cloned().collect();
    if errors.is_empty() { Ok(()) } else { Err(format!("for {} verify finds {errors:#?}", case.target)) }
}

/// Whether all is the same but for `params` that the model leaves as they are, and the tool makes compact. Not the other way round.
fn is_same_index(tool: &[u8], model: &[u8]) -> bool {
    let [mut tool, mut model] = [tool, model].map(|value| FieldIndex::decode(value).expect("a message"));
    let params = |record: &mut FieldIndex| record.index_info.take().map(|info| info.user_index_params);
    let [bare_tool, bare_model] = [&tool, &model].map(|record| {
        let mut bare = record.clone();
        bare.index_info.iter_mut().for_each(|info| info.user_index_params.clear());
        bare
    });
    let (tool, model) = (params(&mut tool).unwrap_or_default(), params(&mut model).unwrap_or_default());
    let is_same = |(tool, model): (&KeyValuePair, &KeyValuePair)| {
        tool == model || (tool.key == "params" && model.key == "params" && tool.value == compact(&model.value))
    };
    bare_tool == bare_model && tool.len() == model.len() && tool.iter().zip(&model).all(is_same)
}

/// JSON text without the blanks outside of its strings.
fn compact(text: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let is_kept = |letter: &char| {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = in_string,
            '"' => in_string = !in_string,
            _ => {}
        }
        in_string || *letter != ' '
    };
    text.chars().filter(is_kept).collect()
}

fn is_log(key: &[u8]) -> bool {
    matches!(family_of(key), Family::Binlog | Family::Statslog | Family::Deltalog)
}

/// The fields of a FieldBinlog, those of each file in order of their numbers.
fn sorted_logs(value: &[u8]) -> Vec<(u32, Vec<u8>)> {
    const BINLOGS: u32 = 2;
    let fields = wire::fields(value).expect("a message");
    let sorted = fields.into_iter().map(|field| match field.number {
        BINLOGS => {
            let log = &value[field.payload.clone()];
            let mut inner: Vec<_> =
                wire::fields(log).expect("a message").into_iter().map(|one| (one.number, &log[one.whole])).collect();
            inner.sort_by_key(|(number, _)| *number);
            (field.number, inner.into_iter().flat_map(|(_, bytes)| bytes.to_vec()).collect())
        }
        number => (number, value[field.whole.clone()].to_vec()),
    });
    sorted.collect()
}

fn shown(value: Option<&Bytes>) -> String {
    value.map_or_else(|| "(no such key)".to_owned(), |value| value.escape_ascii().to_string())
}

fn names_the_damage(case: &Case) -> Result<(), String> {
    let conversion = case.converted();
    let mut named: BTreeSet<String> = BTreeSet::new();
    named.extend(conversion.problems.iter().filter(|one| one.caused_by.is_none()).map(|one| one.key.clone()));
    // Names that clash are found by looking at what would be; what is left out is listed, too.
    let missing: Vec<&String> = case.must_name.iter().filter(|key| !named.contains(*key)).collect();
    let checked = check(&conversion.should, Some(case.layout()));
    let errors: Vec<_> = checked.errors().collect();
    let plain = |key: &str| {
        key.strip_prefix("snapshots/").and_then(|key| key.rsplit_once("_ts")).map(|(key, _)| key.to_owned())
    };
    let listed = |key: &str| {
        let id = key.rsplit('/').next().unwrap_or_default();
        let is_word = |text: &str| text.split([' ', ',']).any(|word| word == id);
        errors.iter().any(|error| error.key.split('/').any(|part| part == id) || is_word(&error.what))
            // An alias that leads nowhere is left out with all its snapshots.
            || conversion.report.left_out.iter().any(|left| {
                left.key == key || plain(&left.key).as_deref() == Some(key) || plain(key).as_ref() == Some(&left.key)
            })
    };
    let unnamed: Vec<_> = missing.into_iter().filter(|key| !listed(key)).collect();
    // What is wrong with an alias may be said of its record or of its snapshot.
    let unnamed: Vec<_> =
        unnamed.into_iter().filter(|key| !named.iter().any(|one| plain(one).as_ref() == Some(*key))).collect();
    let is_known =
        |key: &String| case.must_name.contains(key) || plain(key).is_some_and(|plain| case.must_name.contains(&plain));
    let extra: Vec<_> = named.iter().filter(|key| !is_known(key)).collect();
    if !unnamed.is_empty() || !extra.is_empty() {
        return Err(format!("for {}: not named: {unnamed:?}; named, and not in the model: {extra:?}", case.target));
    }
    let after = carry_out(case, &conversion)?;
    let left: Vec<String> =
        after.keys().filter(|key| family_of(key).side() == Side::Source).map(|key| printable(key)).collect();
    if left.is_empty() { Ok(()) } else { Err(format!("2.1 keys are left: {left:?}")) }
}

impl Case {
    fn layout(&self) -> Layout {
        Layout::of(&version::parse(&self.target).unwrap())
    }

    fn records(&self) -> Records {
        let mut records = Records::default();
        for (key, value) in &self.keys {
            records.add(key.clone(), value.clone());
        }
        records
    }

    /// What is to be there, with the precedence that the records and the history give.
    fn converted(&self) -> Conversion {
        let mut records = self.records();
        let situation = Situation::of(&records).expect("a history that can be read");
        let options = Options { precedence: situation.precedence(), ..Options::default() };
        catalog::convert(&mut records, self.layout(), &options)
    }

    /// The model's history says little: here is the tool's own of such a run.
    fn with_real_history(mut self) -> Self {
        if let Some(value) = self.keys.get_mut(HISTORY.as_bytes()) {
            let history = History {
                from_version: Some("2.1.4".into()),
                to_version: Some(self.target.clone()),
                ..History::begin(Operation::Run)
            };
            *value = history.write();
        }
        self
    }
}

/// What etcd holds when all of the plan has been written, problems or not; without sessions' counter and history, as the model has it.
fn carry_out(case: &Case, conversion: &Conversion) -> Result<Keys, String> {
    let records: Records = case.keys.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let diff = records.held_against(&conversion.should);
    let mut keys = case.keys.clone();
    let opening = Phase { changes: opening_of_run(&diff), ..Phase::default() };
    write(&opening, &mut keys)?;
    for phase in &Plan::of_run(&diff, 7).phases {
        write(phase, &mut keys)?;
    }
    keys.retain(|key, _| family_of(key) != Family::History);
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
    /// The version that it is migrated for.
    target: String,
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
        let (name, target) = (self.read_text(), self.read_text());
        let (keys, result) = (self.read_keys(), self.read_keys());
        let must_name = (0..self.read_number()).map(|_| printable(&self.read_bytes())).collect();
        Some(Case { name, target, keys, result, must_name }.with_real_history())
    }
}
