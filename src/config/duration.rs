//! Durations as people write them: `90s`, `30m`, `8h`, `1d`, `1h30m`.

use std::time::Duration;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a duration in whole seconds. `None` where it is not one.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let mut tail = tail.chars();
        let unit = tail.next()?;
        let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(seconds)?)?;
        rest = tail.as_str();
    }
    (!text.is_empty()).then(|| Duration::from_secs(total))
}

/// Writes a duration as it is read, in its two largest units.
#[must_use]
pub fn show(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut parts = Vec::new();
    for (unit, size) in UNITS {
        if seconds >= size {
            parts.push(format!("{}{unit}", seconds / size));
            seconds %= size;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds, shown) in [
            ("90s", 90, "1m30s"),
            ("1h30m", 5400, "1h30m"),
            ("8h", 28_800, "8h"),
            ("1d", 86_400, "1d"),
            ("0s", 0, "0s"),
            ("3661s", 3661, "1h1m"),
            ("3601s", 3601, "1h"),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
            assert_eq!(show(Duration::from_secs(seconds)), shown);
        }
        for wrong in ["", "8", "h", "8 h", "-1h", "8H", "1.5h", "99999999999999999999s", "8h "] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(parse("18446744073709551615d"), None);
    }
}
