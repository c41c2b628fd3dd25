//! The parser of `Keep-Alive` headers: any text gives a hint within its bounds.
#![no_main]

use std::time::Duration;

use holdfast::engine::lifetime::Hint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    let hint = Hint::parse(header);
    assert!(hint.timeout.is_none_or(|timeout| timeout <= Duration::from_secs(86_400 * 30)));
    // What was said once may be said twice, and in any case.
    assert_eq!(Hint::parse(&format!("{header},{header}")), hint);
    assert_eq!(Hint::parse(&header.to_ascii_uppercase()), hint);
});
