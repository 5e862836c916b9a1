use super::*;
use crate::report::verification::verification;
use crate::verify::comparison::Comparison;
use crate::verify::outcome::{ComparisonOutcome, Reading, VerifyOutcome};

fn outcome(keys: &Keys, with_backup: bool) -> VerifyOutcome {
    let reading =
        Reading { meta_root: "by-dev/meta".into(), revision: 42, live_sessions: vec!["session/proxy-3".into()] };
    let comparison = with_backup.then(|| {
        let mut comparison = Comparison::new(sample(), &Options::default()).unwrap();
        keys.iter().for_each(|(key, value)| comparison.add(key, value));
        ComparisonOutcome { backup: "a.bak".into(), skip_invalid: false, differences: comparison.finish() }
    });
    VerifyOutcome::new(reading, verify(keys), comparison)
}

fn damaged() -> Keys {
    let mut keys = migrated();
    remove(&mut keys, &Key::Plain(Plain::Alias("a_main".into())));
    drop_key(&mut keys, &Key::Plain(Plain::Alias("gone".into())));
    for number in 1..=3 {
        keys.insert(Bytes::from(format!("field-index/x/{number}")), Bytes::new());
    }
    keys
}

#[test]
fn the_text_tells_every_invariant_then_the_findings_then_the_verdict() {
    insta::assert_snapshot!(verification(&outcome(&damaged(), true), 2));
}

#[test]
fn scripts_get_all_that_the_text_tells() {
    let json = serde_json::to_value(outcome(&damaged(), true)).unwrap();
    assert_eq!(json["consistent"], false);
    assert_eq!(json["layout"], "2.2");
    assert_eq!(json["invariants"][3]["invariant"], "keys-parse");
    assert_eq!(json["invariants"][3]["errors"], 3);
    assert_eq!(json["findings"][0]["key"], "field-index/x/1");
    assert_eq!(json["findings"][0]["severity"], "error");
    assert_eq!(json["comparison"]["missing"][0], "root-coord/aliases/a_main");
}

#[test]
fn a_difference_from_the_backup_alone_is_not_consistent_but_warnings_are() {
    let mut keys = migrated();
    keys.insert(Bytes::from("channelwatch/7"), Bytes::new());
    assert!(outcome(&keys, false).consistent);
    assert!(!outcome(&keys, true).consistent);
    remove(&mut keys, &Key::Plain(Plain::Alias("a_main".into())));
    let outcome = outcome(&keys, false);
    assert!(outcome.consistent && outcome.verdict.contains("1 warning(s)"), "{}", outcome.verdict);
}
