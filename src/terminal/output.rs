//! The one place that writes to standard output and standard error.
//!
//! The exit code tells of the metadata, not of the terminal: a log or a result that cannot be written (closed, full, its reader
//! gone) changes neither the work nor the code. Only where what goes to standard output is itself the work, as with an
//! export, does a failure count; and even then not that the reader has seen enough.

use std::io::{self, Write};

/// Writes to standard output as well as it goes.
pub fn to_stdout(bytes: &[u8]) {
    as_well_as_it_goes(io::stdout().lock(), bytes);
}

/// Writes to standard error as well as it goes.
pub fn to_stderr(bytes: &[u8]) {
    as_well_as_it_goes(io::stderr().lock(), bytes);
}

fn as_well_as_it_goes(mut to: impl Write, bytes: &[u8]) {
    // Nobody is left who could be told.
    let _ = to.write_all(bytes).and_then(|()| to.flush());
}

/// Standard output as the place where the work goes: an export, a man page.
pub fn product() -> Product<io::Stdout> {
    Product { to: io::stdout(), is_wanted: true }
}

/// What is written for a reader who may leave at any time, as `head` does: the rest is then thrown away.
#[derive(Debug)]
pub struct Product<W> {
    to: W,
    is_wanted: bool,
}

impl<W: Write> Product<W> {
    fn unless_unwanted(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_wanted = false;
                Ok(())
            }
            other => other,
        }
    }
}

impl<W: Write> Write for Product<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_wanted {
            let written = self.to.write_all(bytes);
            self.unless_unwanted(written)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.is_wanted {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.unless_unwanted(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_product_may_be_left_by_its_reader_but_not_lost_otherwise() {
        let mut left = Product { to: Fails(io::ErrorKind::BrokenPipe), is_wanted: true };
        assert!(left.write_all(b"x").is_ok() && left.flush().is_ok());
        let mut full = Product { to: Fails(io::ErrorKind::StorageFull), is_wanted: true };
        assert!(full.write_all(b"x").is_err() && full.flush().is_err());
    }
}
