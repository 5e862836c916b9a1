//! Room for the backup, and what etcd takes of the largest values: found out before anything is written into etcd.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use assert_cmd::assert::Assert;

use crate::common::tool::PROGRAM;
use crate::common::{Etcd, Tool, Version, said};
use crate::{says, stopped_milvus};

/// Runs `meta-migration --config FILE … --backup-file small/…`, where `small` is a file system of 16 KiB that ends with the process.
fn on_a_small_disk(tool: &Tool, args: &str) -> Option<Assert> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: only root may mount a file system");
        return None;
    }
    let script = format!(
        "mkdir -p small && mount -t tmpfs -o size=16k tmpfs small && \"$0\" --config \"$1\" {args} --backup-file small/b; code=$?; \
         ls -A small; exit $code"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-uc", &script, PROGRAM]).arg(tool.config_file());
    Some(tool.spawn(command).wait())
}

#[test]
fn a_disk_that_is_too_small_for_the_backup_is_found_out_before_a_run_writes() {
    let etcd = stopped_milvus(Version::V3_5);
    let tool = Tool::new(&etcd);
    let before = etcd.dump();
    let Some(ended) = on_a_small_disk(&tool, "run --with-backup") else { return };
    let text = said(&ended);
    assert_eq!(ended.get_output().status.code(), Some(1), "{text}");
    assert!(
        text.contains("there is not enough room for the backup small/b: with ") && text.contains("Make room"),
        "{text}"
    );
    // Nothing is left there.
    assert!(ended.get_output().stdout.is_empty(), "{text}");
    // A rehearsal foresees it, as something to see to; where the same command is to make the backup, as a refusal.
    let Some(told) = on_a_small_disk(&tool, "plan") else { return };
    let text = said(&told);
    assert_eq!(told.get_output().status.code(), Some(0), "{text}");
    assert!(text.contains("there is not enough room for the backup small/b: it takes about "), "{text}");
    let config = std::fs::read_to_string(tool.config_file()).unwrap();
    tool.configure(&format!("{config}\ncmd: {{runWithBackup: true}}"));
    let Some(rehearsed) = on_a_small_disk(&tool, "plan") else { return };
    let text = said(&rehearsed);
    assert!(text.contains("there is not enough room for the backup small/b: it takes about "), "{text}");
    assert_eq!(etcd.dump(), before);
}

/// An etcd of which the requests were larger once, with a load state of so many bytes.
fn once_larger(bytes: usize) -> Etcd {
    let large = stopped_milvus(Version::V3_5);
    let key = "by-dev/meta/queryCoord-ReplicaMeta/";
    let (key, value) = large.dump_prefix(key).into_iter().next().unwrap();
    let mut record = value;
    // A field that nobody knows.
    record.extend([0x9a, 0x06]);
    prost::encoding::encode_varint(bytes as u64, &mut record);
    record.extend(vec![b'u'; bytes]);
    large.put(key, record);
    large
}

#[test]
fn a_value_that_could_not_be_put_back_is_found_before_the_first_write() {
    const LIMIT: usize = 200_000;
    // Within the limit for whoever wrote it, but not with the conditions of our transactions.
    for (bytes, fits) in [(LIMIT - 20_000, true), (LIMIT - 700, false)] {
        let large = once_larger(bytes);
        let etcd = Etcd::with(Version::V3_5).arg(format!("--max-request-bytes={}", LIMIT + 100)).start();
        // etcd's own limit has some room above what is configured for framing; the value alone fits.
        crate::common::state::copy(&large.dump(), &etcd);
        let tool = Tool::new(&etcd);
        let before = etcd.dump();
        if fits {
            says(&tool, &["plan"], 0);
            continue;
        }
        for command in [&["plan"][..], &["run", "--force"]] {
            let text = says(&tool, command, 1);
            assert!(
                text.contains("could not be put back by `rollback`. Start etcd with a larger --max-request-bytes"),
                "{text}"
            );
        }
        assert_eq!(etcd.dump(), before);
    }
}
