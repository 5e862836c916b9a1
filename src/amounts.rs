//! Amounts, as people read them.

/// A number with its thousands set apart.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 index`, `2 indexes`.
pub fn many(number: impl TryInto<u64>, one: &str, more: &str) -> String {
    // No number of things is negative.
    let number = number.try_into().unwrap_or_default();
    format!("{} {}", thousands(number), if number == 1 { one } else { more })
}

/// Bytes in a unit that people read.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A time span in a unit that people read: `40 s`, `12 min`, `3 h`, `5 days`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!([many(1, "index", "indexes"), many(2000_i64, "index", "indexes")], ["1 index", "2,000 indexes"]);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(["0", "999", "1,000", "12,345,678"].map(String::from), [0, 999, 1_000, 12_345_678].map(thousands));
        assert_eq!(
            [0, 1023, 1024, 5 << 20].map(bytes),
            ["0 bytes", "1023 bytes", "1.0 KiB", "5.0 MiB"].map(String::from)
        );
        let spans = [119, 120, 7_199, 7_200, 172_799, 172_800].map(span);
        assert_eq!(spans, ["119 s", "2 min", "119 min", "2 h", "47 h", "2 days"].map(String::from));
    }
}
