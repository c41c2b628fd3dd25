//! The replay decision: whatever the facts, nothing is sent again that must not be.
#![no_main]

use holdfast::engine::retry::{Attempt, Evidence, NonIdempotent, Policy, Verdict, decide};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: [u8; 8]| {
    let [flags, more, evidence, non_idempotent, retries, attempts, written, acknowledged] = bytes;
    let flag = |bit: u8| flags & 1 << bit != 0;
    let policy = Policy {
        enabled: more & 1 != 0,
        attempts: attempts.into(),
        non_idempotent: match non_idempotent % 3 {
            0 => NonIdempotent::Evidence,
            1 => NonIdempotent::Never,
            _ => NonIdempotent::Always,
        },
        ..Policy::default()
    };
    let known = (evidence & 1 != 0).then_some(acknowledged.into());
    let evidence = Evidence::of(written.into(), known, evidence & 2 != 0);
    let attempt = Attempt {
        connected: flag(0),
        reused: flag(1),
        answered: flag(2),
        evidence,
        idempotent: flag(3),
        replayable: flag(4),
        replayed: flag(5),
        listed: flag(6),
        affordable: flag(7),
        retries: retries.into(),
    };
    let verdict = decide(&policy, &attempt);
    assert_eq!(verdict, decide(&policy, &attempt), "the same facts, the same verdict");
    if let Verdict::Surface(_) = verdict {
        return;
    }
    assert!(policy.enabled && !attempt.answered && attempt.affordable);
    assert!(attempt.replayable || written == 0);
    let is_harmless = attempt.idempotent || policy.non_idempotent == NonIdempotent::Always;
    assert!(is_harmless || evidence.proves_innocence());
    if evidence == Evidence::PeerClosedFirst {
        assert_eq!(known, Some(0), "only what the kernel says proves that nothing arrived");
    }
    match verdict {
        Verdict::Replay => assert!(!attempt.replayed && retries == 0),
        Verdict::Retry | Verdict::Surface(_) => assert!(retries < attempts),
    }
});
