//! Counting and hashing what passes by.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};

/// Counts and hashes what is consumed, no more: what follows a zstd frame is left to be read.
pub(super) struct HashingReader<R> {
    pub(super) inner: R,
    pub(super) hash: Sha256,
    pub(super) bytes: u64,
}

impl<R> HashingReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }
}

impl<R: BufRead> BufRead for HashingReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(buffer) = self.inner.fill_buf() {
            self.hash.update(&buffer[..amount.min(buffer.len())]);
        }
        self.bytes += amount as u64;
        self.inner.consume(amount);
    }
}

impl<R: BufRead> Read for HashingReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = {
            let available = self.inner.fill_buf()?;
            let read = available.len().min(into.len());
            into[..read].copy_from_slice(&available[..read]);
            read
        };
        self.consume(read);
        Ok(read)
    }
}
