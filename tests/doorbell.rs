//! Every order in which background threads and the loop can meet at the doorbell, tried by loom. Built alone, with
//! `RUSTFLAGS="--cfg doorbell_loom" cargo test --release --no-default-features --test doorbell`, as `npm test` does.
#![cfg(doorbell_loom)]

use holdfast::engine::doorbell::{Bell, Doorbell};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

/// A bell whose handle may be freed: to ring it then would be a use after free.
struct Handle {
    is_freed: Arc<AtomicBool>,
    rung: Arc<AtomicUsize>,
}

impl Bell for Handle {
    fn ring(&self) {
        assert!(!self.is_freed.load(Ordering::SeqCst), "rung after it was closed");
        self.rung.fetch_add(1, Ordering::SeqCst);
    }
}

/// An answer that owns a descriptor.
struct Owned(Arc<AtomicUsize>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn loop_that_goes_is_never_rung_again_and_every_answer_is_taken_or_dropped() {
    loom::model(|| {
        let (is_freed, rung) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let alive = Arc::new(AtomicUsize::new(2));
        let doorbell = Doorbell::new(Handle { is_freed: Arc::clone(&is_freed), rung });
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (button, answer) = (doorbell.button(), Owned(Arc::clone(&alive)));
                thread::spawn(move || button.press(answer))
            })
            .collect();
        drop(doorbell.take());
        doorbell.close();
        is_freed.store(true, Ordering::SeqCst);
        for thread in threads {
            thread.join().expect("it ends");
        }
        drop(doorbell);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "a descriptor leaked");
    });
}

#[test]
fn whoever_hears_the_bell_finds_the_answer() {
    loom::model(|| {
        let (is_freed, rung) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let doorbell = Doorbell::new(Handle { is_freed, rung: Arc::clone(&rung) });
        let button = doorbell.button();
        let background = thread::spawn(move || {
            button.press(1);
            button.press(2);
        });
        let mut taken = Vec::new();
        let mut heard = 0;
        while taken.len() < 2 {
            let now = rung.load(Ordering::SeqCst);
            if now > heard {
                heard = now;
                taken.extend(doorbell.take());
                assert!(taken.len() >= heard, "rung before there was something to take");
            }
            thread::yield_now();
        }
        background.join().expect("it ends");
        assert_eq!(taken, [1, 2]);
    });
}
