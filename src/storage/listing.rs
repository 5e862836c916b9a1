//! Lists the folders that named files are in, several at a time, and holds what is there against what is named.
//!
//! Memory goes with what is named, not with what is there: a listing is compared while it comes.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::{Storage, parse};
use crate::catalog::files::{Folder, NamedFile, NamedFiles};

/// Listings under way at the same time.
const PARALLEL: usize = 16;
/// Named files that one listing covers where it can begin anywhere: some ten pages of 1,000.
const FILES_A_LISTING: usize = 10_000;

/// How a file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// There is none.
    Missing,
    /// It holds nothing; Milvus writes no such file.
    Empty,
}

/// A file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The path in the storage.
    pub path: String,
    /// Whose it is, in [`NamedFiles::owners`].
    pub owner: u32,
    /// How it is not there.
    pub absent: Absent,
}

/// One listing, and what it is to find.
struct Listing<'a> {
    prefix: String,
    /// Where it begins: behind this.
    behind: Option<String>,
    /// The folder of the files.
    folder: String,
    files: &'a [NamedFile],
}

impl Storage {
    /// The files that are not there, in ascending order. `looked` is called with numbers of files that have been looked for.
    ///
    /// # Errors
    /// The storage does not answer, refuses, or holds nothing at all where the files should be.
    pub async fn lacking(&self, named: &NamedFiles, looked: &(dyn Fn(u64) + Sync)) -> Result<Vec<Lacking>> {
        self.expect_roots(named).await?;
        let listings = named.folders.iter().flat_map(|(folder, files)| self.listings(folder, files));
        let found = stream::iter(listings).map(async |listing| {
            let lacking = self.compare(&listing).await?;
            looked(listing.files.len() as u64);
            anyhow::Ok(lacking)
        });
        let mut all: Vec<Lacking> = found.buffer_unordered(PARALLEL).try_concat().await?;
        all.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all)
    }

    fn root_of<'a>(&'a self, folder: &'a Folder) -> &'a str {
        folder.root.as_deref().unwrap_or(&self.root_path)
    }

    /// Under each root path there must be something, or nobody could tell a wrong path from lost files.
    async fn expect_roots(&self, named: &NamedFiles) -> Result<()> {
        let kind = |folder: &Folder| folder.path.split('/').next().unwrap_or_default().to_owned();
        let kinds: BTreeSet<(String, String)> =
            named.folders.keys().map(|folder| (self.root_of(folder).to_owned(), kind(folder))).collect();
        let roots: BTreeSet<&String> = kinds.iter().map(|(root, _)| root).collect();
        for root in roots {
            let mut outcome = Ok(());
            for (_, kind) in kinds.iter().filter(|(of, _)| of == root) {
                outcome = self.expect_something_under(&joined(root, kind)).await;
                if outcome.is_ok() {
                    break;
                }
            }
            outcome?;
        }
        Ok(())
    }

    /// Where a listing can begin anywhere, a large folder is several listings. In a directory, each of its own directories is one:
    /// what lies between is not even looked at.
    fn listings<'a>(&self, folder: &Folder, files: &'a [NamedFile]) -> Vec<Listing<'a>> {
        let path = joined(self.root_of(folder), &folder.path);
        if self.is_ordered {
            let chunks: Vec<&[NamedFile]> = files.chunks(FILES_A_LISTING).collect();
            let before = std::iter::once(None).chain(chunks.iter().map(|chunk| chunk.last()));
            let listings = chunks.iter().zip(before).map(|(files, before)| Listing {
                prefix: path.clone(),
                behind: before.map(|last| joined(&path, &last.path)),
                folder: path.clone(),
                files,
            });
            return listings.collect();
        }
        let groups = files.chunk_by(|a, b| first(a) == first(b));
        let listings = groups.map(|files| Listing {
            prefix: joined(&path, first(&files[0])),
            behind: None,
            folder: path.clone(),
            files,
        });
        listings.collect()
    }

    async fn compare(&self, listing: &Listing<'_>) -> Result<Vec<Lacking>> {
        if self.is_ordered
            && let Some(lacking) = self.compare_in_order(listing).await?
        {
            return Ok(lacking);
        }
        let mut sizes: HashMap<String, Option<u64>> =
            listing.files.iter().map(|file| (joined(&listing.folder, &file.path), None)).collect();
        let mut there = self.store.list(Some(&parse(&listing.prefix)?));
        while let Some(object) = there.next().await {
            let object = object.map_err(|error| self.fault(error, &listing.prefix))?;
            if let Some(size) = sizes.get_mut(object.location.as_ref()) {
                *size = Some(object.size);
            }
        }
        let lacking = listing.files.iter().filter_map(|file| {
            let path = joined(&listing.folder, &file.path);
            let absent = absent(sizes.get(&path).copied().flatten())?;
            Some(Lacking { path, owner: file.owner, absent })
        });
        Ok(lacking.collect())
    }

    /// Side by side, and no further than the last file that is named. `None` where the listing is not in order after all, as in
    /// directory buckets of S3.
    async fn compare_in_order(&self, listing: &Listing<'_>) -> Result<Option<Vec<Lacking>>> {
        let prefix = parse(&listing.prefix)?;
        let mut there = match &listing.behind {
            Some(behind) => self.store.list_with_offset(Some(&prefix), &parse(behind)?),
            None => self.store.list(Some(&prefix)),
        };
        let mut lacking = Vec::new();
        let mut expected =
            listing.files.iter().map(|file| (joined(&listing.folder, &file.path), file.owner)).peekable();
        let mut previous = String::new();
        while expected.peek().is_some() {
            let Some(object) = there.next().await else { break };
            let object = object.map_err(|error| self.fault(error, &listing.prefix))?;
            let at = object.location.as_ref();
            if at <= previous.as_str() {
                return Ok(None);
            }
            while let Some((path, owner)) = expected.next_if(|(path, _)| path.as_str() < at) {
                lacking.push(Lacking { path, owner, absent: Absent::Missing });
            }
            if let Some((path, owner)) = expected.next_if(|(path, _)| path == at)
                && let Some(absent) = absent(Some(object.size))
            {
                lacking.push(Lacking { path, owner, absent });
            }
            at.clone_into(&mut previous);
        }
        lacking.extend(expected.map(|(path, owner)| Lacking { path, owner, absent: Absent::Missing }));
        Ok(Some(lacking))
    }
}

/// The directory directly below its folder that a file is in.
fn first(file: &NamedFile) -> &str {
    file.path.split_once('/').map_or("", |(first, _)| first)
}

fn absent(size: Option<u64>) -> Option<Absent> {
    match size {
        None => Some(Absent::Missing),
        Some(0) => Some(Absent::Empty),
        Some(_) => None,
    }
}

/// A path from its parts, of which any may be empty.
fn joined(first: &str, second: &str) -> String {
    match (first, second) {
        ("", only) | (only, "") => only.to_owned(),
        (first, second) => format!("{first}/{second}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

    use super::*;

    fn named(paths: impl Iterator<Item = String>) -> NamedFiles {
        let folder = Folder { root: Some("files".into()), path: "index_files".into() };
        let files = paths.map(|path| NamedFile { path: path.into(), owner: 0 });
        NamedFiles { folders: [(folder, files.collect())].into(), ..NamedFiles::default() }
    }

    async fn storage(there: &[(String, &'static [u8])], is_ordered: bool) -> Storage {
        let store = InMemory::new();
        for (path, content) in there {
            store.put(&Path::from(path.as_str()), PutPayload::from_static(content)).await.unwrap();
        }
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        Storage { store, name: "storage".into(), root_path: "files".into(), is_ordered }
    }

    /// Over the ends of listings, and with files between that nobody names.
    #[tokio::test]
    async fn in_order_or_not_the_same_is_found() {
        let number = 2 * FILES_A_LISTING + 7;
        let path = |at: usize| format!("{at:06}/1/2/3/file");
        let lost = |at: usize| at == 0 || at == FILES_A_LISTING - 1 || at == FILES_A_LISTING || at == number - 1;
        let mut there: Vec<(String, &'static [u8])> = Vec::new();
        for at in (0..number).filter(|at| !lost(*at)) {
            let content: &[u8] = if at == 5 { b"" } else { b"x" };
            there.push((format!("files/index_files/{}", path(at)), content));
            there.push((format!("files/index_files/{}-of-nobody", path(at)), b"x"));
        }
        let named = named((0..number).map(path));
        let mut expected: Vec<(String, Absent)> =
            (0..number).filter(|at| lost(*at)).map(|at| (path(at), Absent::Missing)).collect();
        expected.push((path(5), Absent::Empty));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        for is_ordered in [true, false] {
            let storage = storage(&there, is_ordered).await;
            let looked = AtomicU64::new(0);
            let count = |files| {
                looked.fetch_add(files, Ordering::Relaxed);
            };
            let found = storage.lacking(&named, &count).await.unwrap();
            let found: Vec<_> =
                found.into_iter().map(|one| (one.path.replace("files/index_files/", ""), one.absent)).collect();
            assert_eq!(found, expected, "in order: {is_ordered}");
            assert_eq!(looked.into_inner(), number as u64);
        }
    }

    #[tokio::test]
    async fn nothing_under_the_root_is_an_error_that_says_what_is_there() {
        let storage = storage(&[("other/insert_log/1/2/3/4/5".into(), b"x")], true).await;
        let named = named(["1/1/2/3/file".to_owned()].into_iter());
        let error = storage.lacking(&named, &|_| ()).await.unwrap_err().to_string();
        assert!(error.contains("nothing at all is under") && error.contains("what is there: other/"), "{error}");
    }
}
