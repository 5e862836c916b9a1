//! How long a segment takes in the conversion and a megabyte in the backup file, and how often they allocate.
//!
//! `cargo bench` prints the times; the allocations come first.

#![allow(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use meta_migration::backup::write::Origin;
use meta_migration::backup::{Backup, Writer};
use meta_migration::catalog::{self, Conversion, Options};
use meta_migration::layout::Found;
use meta_migration::version::Layout as TargetLayout;

#[path = "../examples/make-cluster.rs"]
#[allow(dead_code)]
mod make_cluster;

const SEGMENTS: u64 = 5_000;

/// Counts what is asked of the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        ALLOCATED.fetch_add(layout.size() as u64, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

type Keys = Vec<(Bytes, Bytes)>;

fn cluster() -> Keys {
    let keys = make_cluster::cluster(i64::try_from(SEGMENTS).unwrap_or(i64::MAX));
    keys.into_iter().map(|(key, value)| (Bytes::from(key), Bytes::from(value))).collect()
}

fn convert(keys: Keys) -> Conversion {
    let target = semver::Version::new(2, 2, 16);
    catalog::convert(&mut keys.into_iter().collect(), TargetLayout::of(&target), &Options::default())
}

fn write(keys: &Keys, file: &Path) {
    let origin = Origin {
        created: "2022-12-01T00:00:00Z".into(),
        root_path: "by-dev".into(),
        meta_sub_path: "meta".into(),
        etcd_cluster_id: 0,
        etcd_revision: 0,
        source_version: None,
        while_running: false,
    };
    let mut writer = Writer::create(file, origin, keys.len() as u64).expect("the folder is ours");
    for (key, value) in keys {
        writer.add(key, value).expect("the folder is ours");
    }
    writer.finish(Found::Source).expect("the folder is ours");
}

fn read(file: &Path) {
    Backup::read(file, |key, value| _ = black_box((key, value))).expect("it has just been written");
}

fn allocations(what: &str, per: u64, unit: &str, work: impl FnOnce()) {
    let before = [&ALLOCATIONS, &ALLOCATED].map(|counter| counter.load(Relaxed));
    work();
    let [times, bytes] = [ALLOCATIONS.load(Relaxed) - before[0], ALLOCATED.load(Relaxed) - before[1]];
    println!("{what}: {:.1} allocations, {} bytes a {unit}", times as f64 / per as f64, bytes / per);
}

fn benches(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let file = folder.path().join("cluster.bak");
    let keys = cluster();
    let bytes = keys.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    allocations("convert", SEGMENTS, "segment", || drop(black_box(convert(keys.clone()))));
    allocations("write", keys.len() as u64, "key", || write(&keys, &file));
    allocations("read", keys.len() as u64, "key", || read(&file));

    let mut group = criterion.benchmark_group("conversion");
    group.sample_size(20).throughput(Throughput::Elements(SEGMENTS));
    group.bench_function("decode and convert", |bencher| {
        bencher.iter_batched(|| keys.clone(), convert, BatchSize::LargeInput);
    });
    group.finish();

    let mut group = criterion.benchmark_group("backup file");
    group.sample_size(20).throughput(Throughput::Bytes(bytes));
    group.bench_function("write", |bencher| {
        bencher.iter_batched(|| _ = std::fs::remove_file(&file), |()| write(&keys, &file), BatchSize::PerIteration);
    });
    group.bench_function("read", |bencher| bencher.iter(|| read(&file)));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
