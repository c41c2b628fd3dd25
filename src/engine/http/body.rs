//! A request's body, pushed in piece by piece.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// What hyper reads, and who pushes: both are this.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing(Rc<RefCell<Queue>>);

// hyper is polled after each push, so no waker is kept.
#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Bytes>,
    is_whole: bool,
    /// The request has no body, not even an empty one.
    is_none: bool,
}

impl Outgoing {
    /// No body.
    pub(super) fn none() -> Self {
        Self(Rc::new(RefCell::new(Queue { is_whole: true, is_none: true, ..Queue::default() })))
    }

    pub(super) fn push(&self, chunk: Bytes) {
        self.0.borrow_mut().chunks.push_back(chunk);
    }

    /// Nothing more follows.
    pub(super) fn finish(&self) {
        self.0.borrow_mut().is_whole = true;
    }

    /// Whether hyper has taken all that was pushed.
    pub(super) fn is_drained(&self) -> bool {
        self.0.borrow().chunks.is_empty()
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let queue = &mut *self.0.borrow_mut();
        match queue.chunks.pop_front() {
            Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            None if queue.is_whole => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    // Of one that has ended already hyper would write no end, and the head may have said that there is one.
    fn is_end_stream(&self) -> bool {
        self.0.borrow().is_none
    }

    // How long it is, a header says: whoever pushes has put one in.
    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
