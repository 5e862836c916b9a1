//! The terminal that progress bars are drawn on. It may go at any time: a connection drops, a window is closed.
//!
//! The library that draws the bars panics where it cannot write; so it is never told.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};
use textwrap::{Options, WordSeparator, WordSplitter, fill};

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

/// A text as it can be shown or kept: names come from metadata that may be damaged, and what moves a cursor or turns the direction of
/// reading would make another text of it. Lines and tabs stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    let turns =
        |char: char| matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_odd = |char: char| (char.is_control() && !matches!(char, '\n' | '\t')) || turns(char);
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match is_odd(char) {
            true => shown.extend(char.escape_default()),
            false => shown.push(char),
        }
    }
    Cow::Owned(shown)
}

/// A text in lines that fit a terminal, broken between words alone: a key or a path that is longer than a line stays whole. What
/// belongs to a line is set in below it.
pub fn wrapped(text: &str, term: &Term) -> String {
    match term.size_checked() {
        Some((_, columns)) => fitted(text, usize::from(columns)),
        None => text.to_owned(),
    }
}

fn fitted(text: &str, columns: usize) -> String {
    let line = |line: &str| {
        let words = line.trim_start_matches(' ');
        let (before, indent) = (&line[..line.len() - words.len()], line.len() - words.len());
        // Where hardly a word fits, setting in takes the room that words need.
        let below = " ".repeat(if indent + 20 < columns { indent + 2 } else { 0 });
        let options = Options::new(columns.max(20))
            .initial_indent(before)
            .subsequent_indent(&below)
            .break_words(false)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation);
        fill(words, options)
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
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

#[cfg(test)]
mod tests {
    use super::{fitted, plain};

    #[test]
    fn a_name_cannot_move_the_cursor_or_turn_the_text() {
        assert_eq!(plain("a\tb\nc é 集"), "a\tb\nc é 集");
        assert_eq!(plain("a\u{1b}[31m\u{202e}b\0\r"), "a\\u{1b}[31m\\u{202e}b\\u{0}\\r");
    }

    #[test]
    fn no_word_is_broken_and_no_line_too_long_but_for_a_word() {
        let text = "next: either stop Milvus, `backup`, and `run --keep-newer`: all that the newer Milvus wrote stays\n  by-dev/meta/root-coord/database/collection-info/1/470605839296564545_ts470605839296564546: gone\n\n  last";
        let fitted = fitted(text, 60);
        assert!(fitted.lines().all(|line| line.len() <= 60 || !line.trim().contains(' ')), "{fitted}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(text), words(&fitted));
        assert!(fitted.ends_with("\n\n  last") && fitted.contains("\n    gone"), "{fitted}");
        assert_eq!(super::fitted("short\n  lines\n", 60), "short\n  lines\n");
    }
}
