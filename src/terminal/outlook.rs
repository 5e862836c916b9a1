//! How long everything that is still to do will take, not only the phase under way.

/// The first requests of a kind tell little: they take longer than those that follow.
const SECONDS_THAT_TELL: f64 = 0.1;

/// Work of one kind goes on at one speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reading, counted in keys.
    Read,
    /// Writing, counted as [`crate::plan::Change::cost`] does.
    Write,
    /// Looking for files, which nothing else goes by.
    Look,
}

/// What was done of each kind, in which time, and what is still to come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outlook {
    read: PhaseTally,
    write: PhaseTally,
    look: PhaseTally,
    planned: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct PhaseTally {
    /// Amount of work in phases that are over.
    done: f64,
    /// Seconds that they took.
    seconds: f64,
    /// Amount of work that was announced and is not over yet, the phase under way included.
    expected: f64,
}

impl Outlook {
    /// This is all that is to be done from now on.
    pub fn expect(&mut self, read: f64, write: f64) {
        self.read.expected = read;
        self.write.expected = write;
        self.planned = true;
    }

    /// A phase is over.
    pub fn finished(&mut self, kind: Kind, amount: f64, seconds: f64) {
        let tally = self.tally(kind);
        tally.done += amount;
        tally.seconds += seconds;
        tally.expected = (tally.expected - amount).max(0.0);
    }

    /// Seconds that are left in all, when `amount` of the phase under way is done after `seconds`. None until it is known what is
    /// to be done, and while nothing tells how fast it goes.
    pub fn seconds_left(&self, kind: Kind, amount: f64, seconds: f64) -> Option<f64> {
        let mut now = self.clone();
        now.finished(kind, amount, seconds);
        if !self.planned {
            return None;
        }
        [&now.read, &now.write].into_iter().map(PhaseTally::seconds_left).sum()
    }

    fn tally(&mut self, kind: Kind) -> &mut PhaseTally {
        match kind {
            Kind::Read => &mut self.read,
            Kind::Write => &mut self.write,
            Kind::Look => &mut self.look,
        }
    }
}

impl PhaseTally {
    fn seconds_left(&self) -> Option<f64> {
        match (self.expected > 0.0, self.done > 0.0 && self.seconds >= SECONDS_THAT_TELL) {
            (false, _) => Some(0.0),
            (true, true) => Some(self.expected * self.seconds / self.done),
            (true, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_before_it_is_known_what_is_to_be_done() {
        let mut outlook = Outlook::default();
        assert_eq!(outlook.seconds_left(Kind::Read, 10.0, 1.0), None);
        outlook.finished(Kind::Read, 100.0, 10.0);
        outlook.expect(200.0, 50.0);
        assert_eq!(outlook.seconds_left(Kind::Write, 0.0, 0.0), None, "nothing tells yet how fast writing is");
    }

    #[test]
    fn nothing_is_told_by_the_first_requests_alone() {
        let mut outlook = Outlook::default();
        outlook.expect(0.0, 1000.0);
        assert_eq!(outlook.seconds_left(Kind::Write, 10.0, 0.09), None);
        assert_eq!(outlook.seconds_left(Kind::Write, 100.0, 0.1), Some(0.9));
    }

    #[test]
    fn each_kind_of_work_goes_on_at_its_own_speed() {
        let mut outlook = Outlook::default();
        outlook.finished(Kind::Read, 100.0, 10.0);
        outlook.expect(200.0, 50.0);
        // 40 to write at 5 a second, 200 to read at 10 a second.
        assert_eq!(outlook.seconds_left(Kind::Write, 10.0, 2.0), Some(28.0));
        outlook.finished(Kind::Write, 20.0, 2.0);
        // 29 to write at 10.5 a second: what was measured before counts on.
        assert_eq!(outlook.seconds_left(Kind::Write, 1.0, 0.0), Some(29.0 * 2.0 / 21.0 + 20.0));
        outlook.finished(Kind::Write, 30.0, 3.0);
        assert_eq!(outlook.seconds_left(Kind::Read, 100.0, 10.0), Some(10.0));
        assert_eq!(outlook.seconds_left(Kind::Read, 300.0, 10.0), Some(0.0), "more than announced is no debt");
    }
}
