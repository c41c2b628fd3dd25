//! The server's `Keep-Alive` header. Total: any text gives a hint, nonsense gives an empty one.

use std::time::Duration;

/// Longer announcements are taken as this: no clock arithmetic can overflow, and no connection idles for a month.
const LONGEST: Duration = Duration::from_secs(86_400 * 30);

/// What a server announced of a connection's future.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// Idle time after which the server closes.
    pub timeout: Option<Duration>,
    /// Exchanges that the server will still serve here.
    pub max: Option<u32>,
}

impl Hint {
    /// Parses `timeout=5, max=100` in any order and case; of two values for one word the smaller counts.
    ///
    /// Source: RFC 2068 §19.7.1.1 and what Apache and nginx send.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let mut hint = Self::default();
        for (word, value) in header.split([',', ';']).filter_map(|part| part.split_once('=')) {
            let Some(number) = number(value) else { continue };
            let word = word.trim();
            if word.eq_ignore_ascii_case("timeout") {
                let timeout = Duration::from_secs(number).min(LONGEST);
                hint.timeout = Some(hint.timeout.map_or(timeout, |known| known.min(timeout)));
            } else if word.eq_ignore_ascii_case("max") {
                let max = u32::try_from(number).unwrap_or(u32::MAX);
                hint.max = Some(hint.max.map_or(max, |known| known.min(max)));
            }
        }
        hint
    }
}

/// The digits that it begins with, as Node reads them (`2s` is 2); more than 64 bits of them count as the largest number.
fn number(text: &str) -> Option<u64> {
    let text = text.trim().trim_start_matches('"');
    let digits = text.split(|other: char| !other.is_ascii_digit()).next().filter(|digits| !digits.is_empty())?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hint(timeout: Option<u64>, max: Option<u32>) -> Hint {
        Hint { timeout: timeout.map(Duration::from_secs), max }
    }

    #[test]
    fn hint_reads_what_servers_send() {
        for (header, expected) in [
            ("timeout=5", hint(Some(5), None)),
            ("timeout=5, max=100", hint(Some(5), Some(100))),
            ("max=100, timeout=3", hint(Some(3), Some(100))),
            ("Timeout=7;MAX=2", hint(Some(7), Some(2))),
            ("timeout=\"15\"", hint(Some(15), None)),
            ("timeout=0", hint(Some(0), None)),
            ("timeout=60, timeout=3", hint(Some(3), None)),
            ("timeout=abc", hint(None, None)),
            ("timeout=-1", hint(None, None)),
            ("timeout=1.5", hint(Some(1), None)),
            ("timeout=2s", hint(Some(2), None)),
            ("", hint(None, None)),
        ] {
            assert_eq!(Hint::parse(header), expected, "{header}");
        }
    }

    #[test]
    fn hint_beyond_every_clock_is_clamped() {
        assert_eq!(Hint::parse("timeout=99999999999999999999999").timeout, Some(LONGEST));
    }

    proptest! {
        #[test]
        fn hint_never_panics_and_never_exceeds_the_clamp(header in "\\PC{0,64}") {
            prop_assert!(Hint::parse(&header).timeout.is_none_or(|timeout| timeout <= LONGEST));
        }
    }
}
