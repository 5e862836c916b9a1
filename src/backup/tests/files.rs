//! The file: where it stands, who may read it, and what becomes of the one before.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::backup::write::sync_folder;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn beside(path: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}.{end}", path.display()))
}

fn refused(result: Result<impl Sized, BackupError>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn only_the_owner_may_read_it_even_where_an_open_partial_file_was_left() {
    let (dir, path) = place();
    let partial = beside(&path, "partial");
    fs::write(&partial, "left by a killed process").unwrap();
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o666)).unwrap();
    let writer = begun(&path, &few());
    assert_eq!(mode(&partial), 0o600);
    writer.finish(Found::Source).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names_in(&dir), ["migration.bak"]);
    assert_eq!(read(&path).unwrap().1, few());
}

#[test]
fn a_link_in_place_of_the_partial_file_is_not_followed() {
    let (dir, path) = place();
    let other = dir.path().join("other");
    fs::write(&other, "not ours").unwrap();
    symlink(&other, beside(&path, "partial")).unwrap();
    write(&path, &few());
    assert_eq!(fs::read_to_string(other).unwrap(), "not ours");
    assert_eq!(names_in(&dir), ["migration.bak", "other"]);
    assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
}

#[test]
fn nothing_is_left_behind_when_it_is_not_finished() {
    let (dir, path) = place();
    drop(begun(&path, &few()));
    assert!(names_in(&dir).is_empty());
    write(&path, &few());
    let before = fs::read(&path).unwrap();
    drop(begun(&path, &entries(&[("other", "key")])));
    assert_eq!(names_in(&dir), ["migration.bak"]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn two_that_write_at_the_same_place_do_not_hit_each_other() {
    let (dir, path) = place();
    let first = begun(&path, &few());
    let text = refused(Writer::create(&path, origin(), 0));
    assert!(text.contains("another process is writing a backup there") && text.contains("--backup-file"), "{text}");
    first.finish(Found::Source).unwrap();
    assert_eq!(read(&path).unwrap().1, few());
    assert_eq!(names_in(&dir), ["migration.bak"]);
}

#[test]
fn what_somebody_else_has_put_in_its_place_is_neither_taken_nor_removed() {
    let (dir, path) = place();
    write(&path, &few());
    let good = fs::read(&path).unwrap();
    let partial = beside(&path, "partial");
    let another = |writer: Writer| {
        fs::remove_file(&partial).unwrap();
        fs::write(&partial, "of somebody else").unwrap();
        writer
    };
    let text = refused(another(begun(&path, &few())).finish(Found::Source));
    assert!(text.contains("migration.bak.partial was removed or replaced while it was being written"), "{text}");
    assert_eq!(fs::read_to_string(&partial).unwrap(), "of somebody else");
    drop(another(begun(&path, &few())));
    assert_eq!(names_in(&dir), ["migration.bak", "migration.bak.partial"]);
    assert_eq!(fs::read(&path).unwrap(), good);
}

#[test]
fn until_it_is_finished_the_earlier_one_stands_at_its_place() {
    let (dir, path) = place();
    write(&path, &few());
    let writer = begun(&path, &entries(&[("other", "key")]));
    assert_eq!(names_in(&dir), ["migration.bak", "migration.bak.partial"]);
    assert_eq!(read(&path).unwrap().1, few());
    writer.finish(Found::Source).unwrap();
    assert_eq!(read(&path).unwrap().1, entries(&[("other", "key")]));
}

#[test]
fn earlier_files_are_numbered_and_keep_their_bytes_and_inodes() {
    let (dir, path) = place();
    let mut earlier = Vec::new();
    for number in 0..3 {
        let written = write(&path, &entries(&[("key", &number.to_string())]));
        let moved = (number > 0).then(|| beside(&path, &number.to_string()));
        assert_eq!(written.moved, moved);
        earlier.push((fs::read(&path).unwrap(), fs::metadata(&path).unwrap().ino()));
    }
    assert_eq!(names_in(&dir), ["migration.bak", "migration.bak.1", "migration.bak.2"]);
    for (number, (bytes, inode)) in earlier.iter().take(2).enumerate() {
        let numbered = beside(&path, &(number + 1).to_string());
        assert_eq!((&fs::read(&numbered).unwrap(), fs::metadata(&numbered).unwrap().ino()), (bytes, *inode));
    }
}

#[test]
fn the_first_free_number_is_taken_whatever_stands_at_the_others() {
    let (dir, path) = place();
    fs::write(&path, "an earlier file").unwrap();
    fs::create_dir(beside(&path, "1")).unwrap();
    symlink("nowhere", beside(&path, "2")).unwrap();
    fs::write(beside(&path, "4"), "four").unwrap();
    assert_eq!(write(&path, &few()).moved, Some(beside(&path, "3")));
    assert_eq!(fs::read_to_string(beside(&path, "3")).unwrap(), "an earlier file");
    assert_eq!(fs::read_to_string(beside(&path, "4")).unwrap(), "four");
    assert_eq!(fs::read_link(beside(&path, "2")).unwrap(), Path::new("nowhere"));
    assert_eq!(names_in(&dir).len(), 5);
}

#[test]
fn a_link_at_the_path_is_moved_aside_and_its_file_stays() {
    let (dir, path) = place();
    let real = dir.path().join("real");
    fs::write(&real, "an earlier file").unwrap();
    symlink(&real, &path).unwrap();
    let moved = write(&path, &few()).moved.unwrap();
    assert_eq!(fs::read_link(moved).unwrap(), real);
    assert_eq!(fs::read_to_string(real).unwrap(), "an earlier file");
    assert_eq!(read(&path).unwrap().1, few());
}

#[test]
fn a_file_name_alone_means_the_working_directory() {
    // Its folder has no name then. Nothing is written here: the working directory is the source tree.
    assert!(sync_folder(Path::new("migration.bak")).is_ok());
}

#[test]
fn a_directory_at_the_path_is_refused_with_its_name() {
    let (dir, path) = place();
    fs::create_dir(&path).unwrap();
    let text = refused(Writer::create(&path, origin(), 0));
    assert!(text.contains("migration.bak: is a directory") && text.contains("docker run -v"), "{text}");
    assert_eq!(names_in(&dir), ["migration.bak"]);
}

#[test]
fn a_directory_in_place_of_the_partial_file_is_refused_and_stays() {
    let (dir, path) = place();
    fs::create_dir(beside(&path, "partial")).unwrap();
    let text = refused(Writer::create(&path, origin(), 0));
    assert!(text.contains("migration.bak.partial"), "{text}");
    assert_eq!(names_in(&dir), ["migration.bak.partial"]);
}

#[test]
fn a_missing_folder_is_refused_with_a_question_about_the_volume() {
    let (dir, _) = place();
    let text = refused(Writer::create(&dir.path().join("no/such/migration.bak"), origin(), 0));
    assert!(text.contains("no/such/migration.bak.partial") && text.contains("volume"), "{text}");
    assert!(names_in(&dir).is_empty());
}

#[test]
fn what_would_not_read_back_is_thrown_away() {
    let (dir, path) = place();
    write(&path, &few());
    let unsorted = entries(&[("b", ""), ("a", "")]);
    let twice = entries(&[("a", ""), ("a", "")]);
    for (keys, announced, words) in [
        (few(), 2, "says that it holds 2 keys, but holds 3"),
        (few(), 4, "4"),
        (unsorted, 2, "order"),
        (twice, 2, "twice"),
    ] {
        let mut writer = Writer::create(&path, origin(), announced).unwrap();
        keys.iter().for_each(|(key, value)| writer.add(key, value).unwrap());
        let error = writer.finish(Found::Source).unwrap_err();
        assert!(matches!(error, BackupError::Unsound(_)) && error.to_string().contains(words), "{error}");
        assert_eq!(names_in(&dir), ["migration.bak"]);
        assert_eq!(read(&path).unwrap().1, few());
    }
}

#[test]
fn two_writers_of_one_file_do_not_mix_where_there_are_no_locks() {
    let (dir, path) = place();
    let first = begun(&path, &few());
    // As the second does where it cannot see that the first is at work.
    fs::remove_file(beside(&path, "partial")).unwrap();
    let second = begun(&path, &entries(&[("other", "key")]));
    let text = refused(first.finish(Found::Source));
    assert!(text.contains("removed or replaced while it was being written"), "{text}");
    second.finish(Found::Source).unwrap();
    assert_eq!(read(&path).unwrap().1, entries(&[("other", "key")]));
    assert_eq!(names_in(&dir), ["migration.bak"]);
}
