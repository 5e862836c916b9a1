//! A tour on which every command gives out every field.

use etcd_client::{AlarmAction, AlarmType};
use meta_migration::layout::messages::common::{CollectionInfo, CollectionSchema};
use meta_migration::layout::messages::source::LoadState;
use prost::Message;
use serde_json::Value;

use crate::common::files::{legacy, sample as sample_keys};
use crate::common::readable::decode;
use crate::common::state::LOCK;
use crate::common::{Etcd, Tool, Version, free_ports, testdata};
use crate::schema::Schema;
use crate::{add_users, json_of, object, sample, tool_of};

/// What was given out on the way; every object was held against the schema.
#[derive(Default)]
pub struct Tour {
    pub objects: Vec<Value>,
}

impl Tour {
    pub fn of(version: Version) -> Self {
        let mut tour = Self::default();
        let etcd = sample(version);
        let tool = Tool::new(&etcd);
        tour.around_a_migration(&etcd, &tool);
        tour.of_damaged_metadata(&etcd, &tool);
        tour.of_damaged_backups(&tool);
        tour.of_what_is_in_the_way(version);
        tour.of_an_interruption(version);
        tour
    }

    #[track_caller]
    fn call(&mut self, tool: &Tool, args: &[&str], code: i32) {
        self.keep(json_of(tool, args, code));
    }

    #[track_caller]
    fn keep(&mut self, object: Value) {
        Schema::of_outcomes().check(&object);
        self.objects.push(object);
    }

    fn around_a_migration(&mut self, etcd: &Etcd, tool: &Tool) {
        self.call(tool, &["status"], 0);
        self.call(tool, &["verify"], 1);
        let renames = ["--rename-collection=c_$pecial__name$=c_special", "--rename-alias=a_$pecial=a_special"];
        self.call(tool, &[&["plan", "--diff"][..], &renames].concat(), 0);
        self.call(tool, &["plan", "--rename-alias=none=some"], 1);
        self.call(tool, &["run", "--with-backup=false"], 1);
        self.call(tool, &["backup"], 0);
        // The file from before is moved.
        self.call(tool, &["backup"], 0);
        self.call(tool, &["backup", "--while-running", "--backup-file", "running.bak", "--keep=1"], 0);
        self.call(tool, &["inspect", "migration.bak", "--against", "running.bak"], 0);
        for view in [&[][..], &["--list", "indexes/"], &["--key", "session/id"], &["--export", "."]] {
            self.call(tool, &[&["inspect", "migration.bak"], view].concat(), 0);
        }
        self.call(tool, &["inspect", "migration.bak", "--key", "none"], 1);
        self.call(tool, &[&["run", "--with-backup"][..], &renames].concat(), 0);
        self.call(tool, &["run"], 0);
        self.call(tool, &["repair", "--dry-run"], 0);
        self.call(tool, &["run", "--source-version", "2.2.0", "--target-version", "2.3.0"], 0);
        self.call(tool, &[&["verify", "--backup", "migration.bak"][..], &renames].concat(), 0);
        etcd.put("by-dev/meta/root-coord/fields/470605839296564545/100", "no protobuf");
        etcd.put("by-dev/meta/channelwatch/extra", "extra");
        etcd.delete("by-dev/meta/channelwatch/14/by-dev-rootcoord-dml_0_470605839296564545v0");
        self.call(tool, &["verify", "--backup", "migration.bak"], 1);
        self.call(tool, &["rollback"], 0);
        self.call(tool, &["rollback"], 0);
        self.call(tool, &[&["upgrade"][..], &renames].concat(), 0);
        self.call(tool, &["upgrade", "--source-version", "2.2.0", "--target-version", "2.3.0"], 0);
        self.call(tool, &["rollback"], 0);
    }

    /// An index that is none any more, an alias without a collection, a loaded partition that is gone.
    fn of_damaged_metadata(&mut self, etcd: &Etcd, tool: &Tool) {
        let schema = CollectionSchema { name: "lost".into(), ..CollectionSchema::default() };
        let alias = CollectionInfo { id: 1, schema: Some(schema), ..CollectionInfo::default() };
        etcd.put("by-dev/meta/root-coord/collection-alias/lost", alias.encode_to_vec());
        let key = "by-dev/meta/queryCoord-collectionMeta/470605841485266945";
        let mut load_state: LoadState = decode(&etcd.get(key).unwrap());
        load_state.partition_i_ds.push(7);
        etcd.put(key, load_state.encode_to_vec());
        let indexes = etcd.dump_prefix("by-dev/meta/root-coord/index/470605840515334145/");
        etcd.put(indexes.into_keys().next().unwrap(), "no protobuf");
        self.call(tool, &["plan"], 1);
        self.call(tool, &["backup", "--force"], 0);
        self.call(tool, &["run", "--skip-invalid"], 0);
        self.call(tool, &["verify", "--backup", "migration.bak"], 0);
        self.call(tool, &["rollback"], 0);
    }

    fn of_damaged_backups(&mut self, tool: &Tool) {
        std::fs::write(tool.dir().join("legacy.bak"), legacy(&sample_keys(), true)).unwrap();
        self.call(tool, &["inspect", "legacy.bak"], 0);
        let path = tool.backup_file();
        let sound = std::fs::read(&path).unwrap();
        let mut overwritten = sound.clone();
        overwritten[sound.len() / 2..][..64].fill(0xff);
        for bytes in [&sound[..sound.len() / 2], &sound[..sound.len() - 10], &overwritten] {
            std::fs::write(&path, bytes).unwrap();
            self.call(tool, &["inspect", "migration.bak"], 1);
            self.call(tool, &["rollback"], 1);
        }
    }

    fn of_what_is_in_the_way(&mut self, version: Version) {
        let etcd = Etcd::start(version);
        etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
        let tool = Tool::new(&etcd);
        self.call(&tool, &["plan"], 0);
        self.call(&tool, &["verify"], 1);
        self.call(&tool, &["run", "--force"], 1);
        etcd.put_with_lease(LOCK, r#"{"ServerID":0,"ServerName":"migration","Address":"host:1"}"#, 3600);
        let alarm = |action| etcd.run(async |mut client| client.alarm(action, AlarmType::Nospace, None).await);
        alarm(AlarmAction::Activate);
        let with_a_dead_one = format!("{},http://127.0.0.1:{}", etcd.endpoint(), free_ports(1)[0]);
        self.call(&tool, &["status", "--endpoints", &with_a_dead_one], 0);
        alarm(AlarmAction::Deactivate);
        add_users(&etcd);
        self.call(&tool_of(&etcd, "reader"), &["plan"], 1);
        self.call(&tool_of(&etcd, "reader"), &["status"], 0);
    }

    fn of_an_interruption(&mut self, version: Version) {
        let etcd = sample(version);
        let before = etcd.dump();
        let tool = Tool::new(&etcd);
        let running = tool.catch(&["run", "--force", "--output", "json"], &etcd, 3, || etcd.start_over(&before));
        etcd.end_lock();
        running.go_on();
        self.keep(object(&running.wait().code(2)));
    }
}
