//! The pipe that hyper and h2 read from and write to.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use httparse::Status;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::AnswerHead;
use super::{Breakage, copy_as_fits};

/// One end of it; hyper has the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Rc<RefCell<Shared>>);

// It is polled whenever something changed here, so it keeps no wakers.
#[derive(Debug, Default)]
struct Shared {
    /// What has come are the first `end` bytes of this memory, and the first `read` were read.
    received: Vec<u8>,
    read: usize,
    end: usize,
    has_ended: bool,
    written: Vec<u8>,
    /// The kernel has not taken what was written before.
    is_full: bool,
    /// An answer's head has not come as a whole: hyper reads nothing before.
    awaits_head: bool,
    /// What hyper reads instead of the head.
    framing: Vec<u8>,
    /// So many bytes of the body are still to come, and not for hyper, which reads nothing before.
    past: u64,
    /// The request's head, which goes out instead of the one that hyper writes.
    head: Option<Bytes>,
}

/// Behind it is no head any more.
const END: &[u8] = b"\r\n\r\n";

impl Wire {
    /// A request begins, with this head; its answer's is awaited.
    pub(super) fn begin(&self, head: Bytes) {
        let shared = &mut *self.0.borrow_mut();
        shared.head = Some(head);
        shared.awaits_head = true;
        shared.framing.clear();
        shared.past = 0;
    }

    /// Takes the next head of the answer, of up to `most` bytes, once it is whole; behind the last one hyper reads on, or
    /// behind its body if the length of that is known. It reads as it came what is no head, or was cut off by the
    /// connection's end: it knows what is wrong. `may_have_body`: by the request's method.
    pub(super) fn take_head(&self, may_have_body: bool, most: usize) -> Result<Option<AnswerHead>, Breakage> {
        let shared = &mut *self.0.borrow_mut();
        if !shared.awaits_head {
            return Ok(None);
        }
        let unread = shared.received.get(shared.read..shared.end).unwrap_or_default();
        let head = match AnswerHead::parse(unread, may_have_body, &mut shared.framing) {
            Ok(Status::Complete(head)) => head,
            Ok(Status::Partial) if unread.len() > most => return Err(Breakage::HeadTooLarge),
            Ok(Status::Partial) => {
                shared.awaits_head = !shared.has_ended;
                return Ok(None);
            }
            Err(_) => {
                shared.awaits_head = false;
                return Ok(None);
            }
        };
        if head.length > most {
            return Err(Breakage::HeadTooLarge);
        }
        shared.read += head.length;
        shared.awaits_head = head.is_informational();
        shared.past = head.past.unwrap_or_default();
        Ok(Some(head))
    }

    /// How many bytes that are still to come are not for hyper, be they here already or not.
    pub(super) fn past(&self) -> u64 {
        self.0.borrow().past
    }

    /// So many of them have come.
    pub(super) fn passed(&self, count: u64) {
        let shared = &mut *self.0.borrow_mut();
        shared.past = shared.past.saturating_sub(count);
    }

    /// Takes those that are here already, as many as there is `room` for; answers how many.
    pub(super) fn take_past(&self, room: &mut [u8]) -> usize {
        let shared = &mut *self.0.borrow_mut();
        let count = copy_as_fits(shared.here(), room);
        shared.read += count;
        shared.past = shared.past.saturating_sub(count as u64);
        count
    }

    /// Whether there are any.
    pub(super) fn has_past(&self) -> bool {
        !self.0.borrow().here().is_empty()
    }

    /// Puts in what has come, the first `count` bytes of `memory`; [`Wire::reclaim`] gives that back.
    pub(super) fn feed(&self, memory: Vec<u8>, count: usize) {
        let shared = &mut *self.0.borrow_mut();
        if shared.unread().is_empty() {
            (shared.received, shared.read, shared.end) = (memory, 0, count);
        } else {
            shared.received.truncate(shared.end);
            shared.received.extend_from_slice(memory.get(..count).unwrap_or_default());
            shared.end += count;
        }
    }

    /// Takes the memory that was fed; what of it was not read is copied.
    pub(super) fn reclaim(&self) -> Vec<u8> {
        let shared = &mut *self.0.borrow_mut();
        let unread = shared.unread().to_vec();
        (shared.read, shared.end) = (0, unread.len());
        std::mem::replace(&mut shared.received, unread)
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.0.borrow_mut().has_ended = true;
    }

    /// Whether something has come that hyper did not want yet; a part of a head is not there for it.
    pub(super) fn has_unread(&self) -> bool {
        let shared = self.0.borrow();
        !shared.awaits_head && !shared.unread().is_empty()
    }

    /// Takes what was written.
    pub(super) fn take_written(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().written)
    }

    /// Gives the memory of what was taken back.
    pub(super) fn reuse(&self, mut memory: Vec<u8>) {
        memory.clear();
        let shared = &mut *self.0.borrow_mut();
        if shared.written.is_empty() {
            shared.written = memory;
        }
    }

    pub(super) fn set_full(&self, is_full: bool) {
        self.0.borrow_mut().is_full = is_full;
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.borrow().is_full
    }

    /// Takes what hyper has not read.
    pub(super) fn take_unread(&self) -> Vec<u8> {
        let shared = &mut *self.0.borrow_mut();
        let unread = shared.unread().to_vec();
        (shared.received, shared.read, shared.end) = (Vec::new(), 0, 0);
        unread
    }
}

impl Shared {
    fn unread(&self) -> &[u8] {
        self.received.get(self.read..self.end).unwrap_or_default()
    }

    /// What has come of the body that is not for hyper.
    fn here(&self) -> &[u8] {
        let unread = self.unread();
        unread.get(..usize::try_from(self.past).unwrap_or(usize::MAX)).unwrap_or(unread)
    }

    /// Has `put` take up to `room` bytes of what has come, or none at its end.
    fn read(&mut self, room: usize, mut put: impl FnMut(&[u8])) -> Poll<()> {
        if self.awaits_head {
            return Poll::Pending;
        }
        let framing = self.framing.get(..room).unwrap_or(&self.framing);
        put(framing);
        let (told, room) = (framing.len(), room - framing.len());
        drop(self.framing.drain(..told));
        let unread = self.unread();
        let is_for_hyper = self.past == 0;
        let has_ended = self.has_ended && (is_for_hyper || unread.is_empty());
        let bytes = if is_for_hyper { unread.get(..room).unwrap_or(unread) } else { &[] };
        put(bytes);
        let count = bytes.len();
        self.read += count;
        if told + count > 0 || has_ended { Poll::Ready(()) } else { Poll::Pending }
    }

    fn write(&mut self, bytes: &[u8]) {
        // A head comes in one piece.
        let rest = self.head.take().map_or(0, |head| {
            self.written.extend_from_slice(&head);
            bytes.windows(END.len()).position(|window| window == END).map_or(bytes.len(), |at| at + END.len())
        });
        self.written.extend_from_slice(bytes.get(rest..).unwrap_or_default());
    }

    fn write_all(&mut self, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.is_full {
            return Poll::Pending;
        }
        for slice in slices {
            self.write(slice);
        }
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }
}

impl Read for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, mut to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().read(to.remaining(), |bytes| to.put_slice(bytes)).map(Ok)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().read(to.remaining(), |bytes| to.put_slice(bytes)).map(Ok)
    }
}

/// hyper's trait and tokio's ask for the same.
macro_rules! writes {
    ($Trait:ident) => {
        impl $Trait for Wire {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.0.borrow_mut().write_all(&[io::IoSlice::new(bytes)])
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.0.borrow_mut().write_all(slices)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
    };
}

writes!(Write);
writes!(AsyncWrite);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_request_goes_out_as_it_was_given() {
        let wire = Wire::default();
        wire.begin(Bytes::from_static(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"));
        let slices = [&b"GET / HTTP/1.1\r\n\r\nbo"[..], b"dy\r\n\r\n", b"!"].map(io::IoSlice::new);
        assert!(wire.0.borrow_mut().write_all(&slices).is_ready());
        assert_eq!(wire.take_written(), b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nbody\r\n\r\n!");
    }

    /// What hyper would read now.
    fn read(wire: &Wire) -> Option<String> {
        let mut text = String::new();
        let came = wire.0.borrow_mut().read(1024, |bytes| text.push_str(&String::from_utf8_lossy(bytes)));
        came.is_ready().then_some(text)
    }

    /// The status of the head that is whole, if one is.
    fn status(wire: &Wire) -> Option<u16> {
        wire.take_head(true, 1024).expect("not too large").map(|head| head.status)
    }

    fn feed(wire: &Wire, bytes: &[u8]) {
        wire.feed(bytes.to_vec(), bytes.len());
    }

    #[test]
    fn hyper_reads_the_framing_of_the_last_head_and_what_is_behind_it() {
        let wire = Wire::default();
        wire.begin(Bytes::new());
        feed(&wire, b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\nContent-Le");
        assert_eq!((status(&wire), status(&wire), read(&wire)), (Some(100), None, None));
        assert!(!wire.has_unread());
        wire.reclaim();
        feed(&wire, b"ngth: 1\r\n\r\nx");
        assert_eq!((status(&wire), status(&wire)), (Some(200), None));
        assert_eq!(read(&wire).as_deref(), Some("HTTP/1.1 204 No Content\r\n\r\n"));
        assert_eq!(read(&wire), None);
    }

    #[test]
    fn body_goes_past_hyper_in_pieces_and_no_more_than_it() {
        let wire = Wire::default();
        wire.begin(Bytes::new());
        feed(&wire, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
        assert_eq!((status(&wire), wire.past()), (Some(200), 5));
        let mut room = [0; 1];
        assert_eq!((wire.take_past(&mut room), &room, wire.has_past()), (1, b"a", true));
        assert_eq!((wire.take_past(&mut room), &room, wire.has_past()), (1, b"b", false));
        wire.passed(1);
        feed(&wire, b"deX");
        let mut room = [0; 9];
        assert_eq!((wire.take_past(&mut room), &room[..2], wire.past()), (2, &b"de"[..], 0));
        assert_eq!(read(&wire).as_deref(), Some("HTTP/1.1 204 No Content\r\n\r\nX"));
    }

    #[test]
    fn hyper_reads_as_it_came_what_is_no_head() {
        let cut = "HTTP/1.1 200 OK\r\nX";
        for (bytes, has_ended) in [("SSH-2.0-x\r\n", false), ("HTTP/1.1 200 OK\r\na b: c\r\n\r\n", false), (cut, true)]
        {
            let wire = Wire::default();
            wire.begin(Bytes::new());
            feed(&wire, bytes.as_bytes());
            if has_ended {
                wire.end();
            }
            assert_eq!(status(&wire), None);
            assert_eq!(read(&wire).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn head_has_its_limit_whole_or_not() {
        for bytes in ["HTTP/1.1 200 OK\r\nX: y\r\n\r\n", "HTTP/1.1 200 OK\r\nX: y\r\n"] {
            let wire = Wire::default();
            wire.begin(Bytes::new());
            feed(&wire, bytes.as_bytes());
            assert_eq!(wire.take_head(true, 20).err(), Some(Breakage::HeadTooLarge));
        }
    }
}
