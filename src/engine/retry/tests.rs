use super::*;
use proptest::prelude::*;

/// A GET on a connection that turned out dead.
const STALE: Attempt = Attempt {
    connected: true,
    reused: true,
    answered: false,
    evidence: Evidence::Unknown,
    idempotent: true,
    replayable: true,
    replayed: false,
    retries: 0,
    listed: true,
    affordable: true,
};

const POST: Attempt = Attempt { idempotent: false, ..STALE };

/// On a connection that had not served before.
const FRESH: Attempt = Attempt { reused: false, ..STALE };

/// Whose connection could not be opened.
const REFUSED: Attempt = Attempt { connected: false, evidence: Evidence::NotWritten, ..FRESH };

fn check(policy: &Policy, cases: &[(Attempt, Verdict)]) {
    for (attempt, expected) in cases {
        assert_eq!(decide(policy, attempt), *expected, "{attempt:?} under {policy:?}");
    }
}

#[test]
fn table_of_delivery_evidence_is_followed() {
    use Evidence::{Acknowledged, NotWritten, PeerClosedFirst, Unknown};
    let with = |evidence, attempt| Attempt { evidence, ..attempt };
    check(
        &Policy::default(),
        &[
            (with(NotWritten, STALE), Verdict::Replay),
            (with(PeerClosedFirst, STALE), Verdict::Replay),
            (with(Acknowledged, STALE), Verdict::Replay),
            (with(Unknown, STALE), Verdict::Replay),
            (with(NotWritten, POST), Verdict::Replay),
            (with(PeerClosedFirst, POST), Verdict::Replay),
            (with(Acknowledged, POST), Verdict::Surface(Refusal::Acknowledged)),
            (with(Unknown, POST), Verdict::Surface(Refusal::Unknown)),
        ],
    );
}

#[test]
fn refusal_by_the_peer_proves_innocence_on_a_fresh_connection_too() {
    let refused = Attempt { evidence: Evidence::Refused, idempotent: false, ..FRESH };
    check(
        &Policy::default(),
        &[
            (refused, Verdict::Replay),
            (Attempt { reused: true, ..refused }, Verdict::Replay),
            (Attempt { replayed: true, ..refused }, Verdict::Surface(Refusal::Spent)),
            (Attempt { replayable: false, ..refused }, Verdict::Surface(Refusal::Capped)),
        ],
    );
    check(&Policy { attempts: 1, ..Policy::default() }, &[(Attempt { replayed: true, ..refused }, Verdict::Retry)]);
    let never = Policy { non_idempotent: NonIdempotent::Never, ..Policy::default() };
    check(&never, &[(refused, Verdict::Surface(Refusal::NotIdempotent))]);
}

#[test]
fn policy_for_what_is_not_idempotent_is_followed() {
    let first = Attempt { evidence: Evidence::PeerClosedFirst, ..POST };
    let unwritten = Attempt { evidence: Evidence::NotWritten, ..POST };
    let never = Policy { non_idempotent: NonIdempotent::Never, ..Policy::default() };
    check(&never, &[(first, Verdict::Surface(Refusal::NotIdempotent)), (unwritten, Verdict::Replay)]);
    let always = Policy { non_idempotent: NonIdempotent::Always, ..Policy::default() };
    check(&always, &[(first, Verdict::Replay), (POST, Verdict::Replay), (unwritten, Verdict::Replay)]);
}

#[test]
fn refusal_names_the_first_rule_that_speaks() {
    let off = Policy { enabled: false, ..Policy::default() };
    check(&off, &[(STALE, Verdict::Surface(Refusal::Off))]);
    check(
        &Policy::default(),
        &[
            (Attempt { answered: true, ..STALE }, Verdict::Surface(Refusal::Answered)),
            (FRESH, Verdict::Surface(Refusal::FreshConnection)),
            (REFUSED, Verdict::Surface(Refusal::FreshConnection)),
            (Attempt { evidence: Evidence::NotWritten, ..FRESH }, Verdict::Replay),
            (Attempt { replayed: true, ..FRESH }, Verdict::Surface(Refusal::Spent)),
            (Attempt { replayable: false, ..STALE }, Verdict::Surface(Refusal::Capped)),
            (Attempt { replayable: false, evidence: Evidence::NotWritten, ..STALE }, Verdict::Replay),
            (Attempt { affordable: false, ..STALE }, Verdict::Surface(Refusal::Budget)),
        ],
    );
}

#[test]
fn attempts_are_for_failures_that_say_nothing_of_idle_connections() {
    let two = Policy { attempts: 2, ..Policy::default() };
    let of = |retries, attempt| Attempt { retries, ..attempt };
    let post = Attempt { idempotent: false, ..FRESH };
    check(
        &two,
        &[
            (REFUSED, Verdict::Retry),
            (of(1, REFUSED), Verdict::Retry),
            (of(2, REFUSED), Verdict::Surface(Refusal::Spent)),
            (Attempt { idempotent: false, ..REFUSED }, Verdict::Retry),
            (Attempt { listed: false, ..REFUSED }, Verdict::Surface(Refusal::FreshConnection)),
            (FRESH, Verdict::Retry),
            (Attempt { replayed: true, ..FRESH }, Verdict::Retry),
            (post, Verdict::Surface(Refusal::FreshConnection)),
            (STALE, Verdict::Replay),
            (Attempt { affordable: false, ..REFUSED }, Verdict::Surface(Refusal::Budget)),
        ],
    );
}

#[test]
fn evidence_follows_the_kernel() {
    for (written, acknowledged, has_fin, expected) in [
        (0, Some(0), false, Evidence::NotWritten),
        (0, None, true, Evidence::NotWritten),
        (9, Some(0), true, Evidence::PeerClosedFirst),
        (9, Some(0), false, Evidence::Unknown),
        (9, Some(1), true, Evidence::Acknowledged),
        (9, Some(9), false, Evidence::Acknowledged),
        (9, None, true, Evidence::Unknown),
    ] {
        assert_eq!(Evidence::of(written, acknowledged, has_fin), expected, "{written} {acknowledged:?} {has_fin}");
    }
}

pub(super) fn any_attempt() -> impl Strategy<Value = Attempt> {
    let evidence = prop::sample::select(Evidence::ALL.to_vec());
    (any::<[bool; 8]>(), evidence, 0u32..4).prop_map(|(facts, evidence, retries)| {
        let [connected, reused, answered, idempotent, replayable, replayed, listed, affordable] = facts;
        Attempt { connected, reused, answered, evidence, idempotent, replayable, replayed, retries, listed, affordable }
    })
}

proptest! {
    #[test]
    fn invariant_5_what_is_sent_again_is_whole_unanswered_within_the_policy_and_harmless(
        attempt in any_attempt(), attempts in 0u32..3, enabled: bool,
    ) {
        let policy = Policy { enabled, attempts, ..Policy::default() };
        let verdict = decide(&policy, &attempt);
        if let Verdict::Surface(_) = verdict {
            return Ok(());
        }
        prop_assert!(enabled && !attempt.answered && attempt.affordable);
        prop_assert!(attempt.idempotent || attempt.evidence.proves_innocence());
        prop_assert!(attempt.replayable || attempt.evidence == Evidence::NotWritten);
        match verdict {
            Verdict::Replay => prop_assert!(!attempt.replayed && attempt.retries == 0),
            Verdict::Retry | Verdict::Surface(_) => prop_assert!(attempt.retries < attempts),
        }
    }
}
