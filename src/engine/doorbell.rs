//! The one thing that threads share: answers from the background, and a bell to wake the loop.
//!
//! The environment may end at any moment. Whatever arrives afterwards is dropped where it arrives, with the descriptor
//! that it owns.

#![expect(clippy::disallowed_types, reason = "the doorbell is the one place where threads meet")]

use std::sync::PoisonError;
#[cfg(not(doorbell_loom))]
use std::sync::{Arc, Mutex};

// `tests/doorbell.rs` tries every order in which threads can meet here.
#[cfg(doorbell_loom)]
use loom::sync::{Arc, Mutex};

/// Wakes the loop from any thread.
pub trait Bell: Send + 'static {
    /// Makes the loop take a turn soon.
    fn ring(&self);
}

struct Shared<T> {
    answers: Vec<T>,
    /// `None` once the loop is gone.
    bell: Option<Box<dyn Bell>>,
}

/// The loop's end: takes the answers.
pub struct Doorbell<T>(Arc<Mutex<Shared<T>>>);

/// A background thread's end: hands one in.
pub struct Button<T>(Arc<Mutex<Shared<T>>>);

impl<T> std::fmt::Debug for Doorbell<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doorbell").finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Button<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Button").finish_non_exhaustive()
    }
}

impl<T> Clone for Button<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send> Doorbell<T> {
    /// A doorbell that rings `bell`.
    pub fn new(bell: impl Bell) -> Self {
        Self(Arc::new(Mutex::new(Shared { answers: Vec::new(), bell: Some(Box::new(bell)) })))
    }

    /// A button for a background thread.
    pub fn button(&self) -> Button<T> {
        Button(Arc::clone(&self.0))
    }

    /// Takes what came in since the last call.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).answers)
    }

    /// From now on the bell is never rung: its handle may be closed. What came in, and what still comes, is dropped.
    pub fn close(&self) {
        let (answers, bell) = {
            let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut shared.answers), shared.bell.take())
        };
        drop((answers, bell));
    }
}

impl<T: Send> Button<T> {
    /// Hands `answer` to the loop, or drops it if the loop is gone.
    pub fn press(&self, answer: T) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Shared { answers, bell } = &mut *shared;
        // Rung under the lock: `close` cannot come between the look and the ring.
        if let Some(bell) = bell {
            answers.push(answer);
            bell.ring();
            return;
        }
        drop(shared);
        drop(answer);
    }
}

#[cfg(all(test, not(doorbell_loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Counter(Arc<AtomicUsize>);

    impl Bell for Counter {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn answer_that_arrives_after_the_loop_went_is_dropped_and_rings_nothing() {
        let rung = Arc::new(AtomicUsize::new(0));
        let doorbell = Doorbell::new(Counter(Arc::clone(&rung)));
        let button = doorbell.button();
        let answer = Arc::new(());
        button.press(Arc::clone(&answer));
        assert_eq!((doorbell.take().len(), rung.load(Ordering::SeqCst)), (1, 1));
        button.press(Arc::clone(&answer));
        doorbell.close();
        button.press(Arc::clone(&answer));
        assert_eq!((Arc::strong_count(&answer), rung.load(Ordering::SeqCst)), (1, 2));
    }
}
