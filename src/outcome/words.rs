//! Words that all outcomes share.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::amounts::{many, thousands};
use crate::catalog::problem::Problem;

/// Lists are cut after this many lines, unless all details are asked for.
const MAX_LINES: usize = 10;

/// Everything that is wrong, each with its key, what is wrong and what it means.
pub fn problems(problems: &[Problem]) -> String {
    let causes = problems.iter().filter(|problem| problem.caused_by.is_none()).count();
    let mut text = format!("{} in the metadata", many(causes, "problem", "problems"));
    match problems.len() - causes {
        0 => text.push(':'),
        following => {
            let _ = write!(text, ", and {} that cannot be used because of them:", many(following, "record", "records"));
        }
    }
    for problem in problems {
        let _ = write!(text, "\n  {}\n    {}; {}", problem.key, problem.what, problem.meaning);
        if let Some(cause) = &problem.caused_by {
            let _ = write!(text, " (because of {cause})");
        }
    }
    text
}

/// What the options ask for and cannot have.
pub fn refusals(refusals: &[String]) -> String {
    format!("this cannot be done as asked:\n  {}", refusals.join("\n  "))
}

/// A sum, and what it is made of.
pub fn sum(by_prefix: &BTreeMap<String, u64>) -> String {
    let total: u64 = by_prefix.values().sum();
    let details = if total == 0 { String::new() } else { format!(" ({})", counts(by_prefix, ", ")) };
    format!("{}{details}", thousands(total))
}

/// Numbers by name.
pub fn counts(counts: &BTreeMap<String, u64>, separator: &str) -> String {
    if counts.is_empty() {
        return "none".into();
    }
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {}", thousands(*count))).collect();
    parts.join(separator)
}

/// Names, ten on a line.
pub fn lines_of_ten(names: &[String]) -> impl Iterator<Item = String> {
    names.chunks(10).map(|ten| ten.join(", "))
}

/// Lines of text.
#[derive(Debug, Default)]
pub struct Text {
    text: String,
    /// Whether lists are shown whole.
    details: bool,
}

impl Text {
    /// Begins a text; with `details` its lists are shown whole.
    pub fn new(details: bool) -> Self {
        Self { text: String::new(), details }
    }

    /// Adds lines.
    pub fn line(&mut self, line: impl AsRef<str>) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line.as_ref());
    }

    /// Adds a list with its title, unless it is empty; a long one is cut unless details are asked for.
    pub fn list(&mut self, title: &str, items: impl Iterator<Item = String>) {
        let items: Vec<String> = items.collect();
        if items.is_empty() {
            return;
        }
        self.line(format!("{title}: {}", items.len()));
        let shown = if self.details { usize::MAX } else { MAX_LINES };
        for item in items.iter().take(shown) {
            self.line(format!("  {}", item.replace('\n', "\n  ")));
        }
        if items.len() > shown {
            self.line(format!("  … and {} more (--details shows all)", items.len() - shown));
        }
    }

    /// Adds a list that only whoever asks for details wants to see; others see how long it is.
    pub fn detail(&mut self, title: &str, items: impl Iterator<Item = String>) {
        if self.details {
            self.list(title, items);
            return;
        }
        match items.count() {
            0 => {}
            number => self.line(format!("{title}: {} (--details names them)", thousands(number as u64))),
        }
    }

    /// Adds a list of names with its title, unless it is empty, ten on a line.
    pub fn names(&mut self, title: &str, names: &[String]) {
        if !names.is_empty() {
            self.line(format!("{title}: {}", thousands(names.len() as u64)));
            lines_of_ten(names).for_each(|line| self.line(format!("  {line}")));
        }
    }

    /// All lines.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_ten_on_a_line() {
        let names: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
        let mut text = Text::new(false);
        text.names("names", &names);
        assert_eq!(text.finish(), "names: 12\n  n0, n1, n2, n3, n4, n5, n6, n7, n8, n9\n  n10, n11");
    }

    #[test]
    fn details_are_for_those_who_ask() {
        let items = || ["one".to_owned(), "two".to_owned()].into_iter();
        let [mut short, mut long] = [false, true].map(Text::new);
        short.detail("things", items());
        long.detail("things", items());
        assert_eq!(short.finish(), "things: 2 (--details names them)");
        assert_eq!(long.finish(), "things: 2\n  one\n  two");
    }
}
