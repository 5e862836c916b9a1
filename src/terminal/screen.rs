//! The terminal that progress bars are drawn on. It may go at any time: a connection drops, a window is closed.
//!
//! The library that draws the bars panics where it cannot write; so it is never told.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};

/// As often as the eye needs.
const DRAWS_A_SECOND: u8 = 20;

/// Bars on standard error if that is a terminal, else bars that nobody sees.
pub fn bars(is_terminal: bool) -> MultiProgress {
    let target = if is_terminal {
        let screen = Screen { term: Term::buffered_stderr(), is_gone: AtomicBool::new(false) };
        ProgressDrawTarget::term_like_with_hz(Box::new(screen), DRAWS_A_SECOND)
    } else {
        ProgressDrawTarget::hidden()
    };
    MultiProgress::with_draw_target(target)
}

/// Standard error as a terminal, on which nothing is drawn any more once that has failed.
#[derive(Debug)]
struct Screen {
    term: Term,
    is_gone: AtomicBool,
}

impl Screen {
    /// Always fine, for whoever asks.
    fn draw(&self, draw: impl FnOnce(&Term) -> io::Result<()>) -> io::Result<()> {
        if !self.is_gone.load(Ordering::Relaxed) && draw(&self.term).is_err() {
            self.is_gone.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.term.size().1
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.draw(|term| term.move_cursor_up(lines))
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.draw(|term| term.move_cursor_down(lines))
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.draw(|term| term.move_cursor_right(columns))
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.draw(|term| term.move_cursor_left(columns))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.draw(|term| term.write_line(text))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.draw(|term| term.write_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw(Term::clear_line)
    }

    fn flush(&self) -> io::Result<()> {
        self.draw(Term::flush)
    }
}
