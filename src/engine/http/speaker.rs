//! One connection's hyper, over all exchanges on it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Buf, Bytes};
use http::{Method, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;

use super::body::Outgoing;
use super::head::{AnswerHead, flat};
use super::wire::Wire;
use super::{Breakage, Misfit, RequestHead, copy_as_fits};

/// What an answer may be as large as.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of its head.
    pub head: usize,
}

/// One fact about an answer, in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A head; [`Speaker::take_head`] has it. `is_upgrade`: the connection speaks something else from here on.
    Head { status: u16, is_upgrade: bool },
    /// There are bytes of the body; [`Speaker::take_chunk`] has them.
    Chunk,
    /// It is whole. `is_reusable`: the connection can have another exchange.
    Complete { has_trailers: bool, is_reusable: bool },
    /// It cannot be understood.
    Broken(Breakage),
}

/// Whether hyper's connection has something to do: set by hyper, and by whoever has changed what it reads or writes.
#[derive(Debug, Default)]
struct Due(AtomicBool);

impl Due {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        let is_set = self.is_set();
        self.0.store(false, Ordering::Relaxed);
        is_set
    }
}

impl Wake for Due {
    fn wake(self: Arc<Self>) {
        self.set();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
    }
}

type Answer = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>;

/// hyper's two halves of a connection, and the exchange that is on it.
pub(crate) struct Speaker {
    wire: Wire,
    sender: http1::SendRequest<Outgoing>,
    connection: http1::Connection<Wire, Outgoing>,
    has_finished: bool,
    due: Arc<Due>,
    waker: Waker,
    limits: Limits,
    request: Outgoing,
    method: Method,
    /// The server speaks HTTP/1.0. hyper would do so too from then on, and leave out a body whose length is not known before.
    is_old: bool,
    answer: Option<Answer>,
    /// The answer's last head, which hyper has not taken yet.
    head: Option<AnswerHead>,
    body: Option<Incoming>,
    heads: VecDeque<Vec<u8>>,
    chunk: Bytes,
    trailers: Option<Vec<u8>>,
    /// The embedder waits to hear that what it pushed has left.
    is_awaited: bool,
}

impl Speaker {
    /// hyper for a connection that nothing was said on. `None` would be hyper's failure to begin, which it has no cause for.
    pub(crate) fn new(limits: Limits) -> Option<Self> {
        let wire = Wire::default();
        let due = Arc::new(Due::default());
        let waker = Waker::from(Arc::clone(&due));
        let handshake = http1::Builder::new().max_header_size(limits.head).handshake(wire.clone());
        let Poll::Ready(Ok((sender, connection))) = std::pin::pin!(handshake).poll(&mut Context::from_waker(&waker))
        else {
            return None;
        };
        Some(Self {
            wire,
            sender,
            connection,
            has_finished: false,
            due,
            waker,
            limits,
            request: Outgoing::none(),
            method: Method::default(),
            is_old: false,
            answer: None,
            head: None,
            body: None,
            heads: VecDeque::new(),
            chunk: Bytes::new(),
            trailers: None,
            is_awaited: false,
        })
    }

    /// Whether another exchange can begin.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_idle() && !self.is_old
    }

    /// Whether the connection can have another, perhaps by another hyper.
    fn is_idle(&self) -> bool {
        !self.has_finished && self.answer.is_none() && self.body.is_none() && self.sender.is_ready()
    }

    /// Begins an exchange. `has_body`: pieces of it are pushed, and then it is finished.
    ///
    /// # Errors
    /// A body needs a header that says how long it is: hyper would choose one, and not have it written.
    pub(crate) fn begin(&mut self, head: RequestHead, has_body: bool) -> Result<(), Misfit> {
        if has_body && !head.tells_length() {
            return Err(Misfit::Header);
        }
        let (text, request) = head.into_framing();
        self.wire.begin(text);
        self.request = if has_body { Outgoing::default() } else { Outgoing::none() };
        self.method = request.method().clone();
        self.head = None;
        self.heads.clear();
        self.trailers = None;
        self.is_awaited = false;
        self.answer = Some(Box::pin(self.sender.send_request(request.map(|()| self.request.clone()))));
        self.due.set();
        Ok(())
    }

    /// Puts in a piece of the request's body.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.request.push(chunk);
        self.due.set();
    }

    /// The request's body is whole.
    pub(crate) fn finish(&mut self) {
        self.request.finish();
        self.due.set();
    }

    /// Whether all that was pushed has left for the kernel. If not, [`Speaker::is_relieved`] becomes true once it has.
    pub(crate) fn await_room(&mut self) -> bool {
        self.is_awaited = self.is_clogged();
        !self.is_awaited
    }

    /// Whether the embedder waited for room, and there is some now; says so once.
    pub(crate) fn is_relieved(&mut self) -> bool {
        let is_relieved = self.is_awaited && !self.is_clogged();
        self.is_awaited &= !is_relieved;
        is_relieved
    }

    fn is_clogged(&self) -> bool {
        self.wire.is_full() || !self.request.is_drained()
    }

    /// Puts in what has come, the first `count` bytes of `memory`.
    pub(crate) fn feed(&mut self, memory: Vec<u8>, count: usize) {
        self.wire.feed(memory, count);
        self.due.set();
    }

    /// Gives back the memory that was fed.
    pub(crate) fn reclaim(&mut self) -> Vec<u8> {
        self.wire.reclaim()
    }

    /// Nothing more will come.
    pub(crate) fn end(&mut self) {
        self.wire.end();
        self.due.set();
    }

    /// Whether something has come that is not told yet: nothing more is to be read before.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.chunk.is_empty() || self.wire.has_unread()
    }

    /// How many bytes of the body come next that hyper has no need of.
    pub(crate) fn past(&self) -> u64 {
        if self.has_backlog() { 0 } else { self.wire.past() }
    }

    /// So many of them have come, and are told.
    pub(crate) fn passed(&self, count: u64) {
        self.wire.passed(count);
    }

    /// Whether a head is what comes next: all that has come was told.
    pub(crate) fn awaits_head(&self) -> bool {
        self.answer.is_some()
    }

    /// What hyper wrote since the last time.
    pub(crate) fn take_written(&mut self) -> Vec<u8> {
        self.wire.take_written()
    }

    /// Gives back the memory of what was taken. `is_full`: the kernel has not taken all of it.
    pub(crate) fn wrote(&mut self, memory: Vec<u8>, is_full: bool) {
        self.wire.reuse(memory);
        self.wire.set_full(is_full);
    }

    /// The kernel has taken what was written.
    pub(crate) fn drained(&mut self) {
        self.wire.set_full(false);
        self.due.set();
    }

    /// Takes bytes of the body that [`Told::Chunk`] told of, as many as there is `room` for; answers how many.
    pub(crate) fn take_chunk(&mut self, room: &mut [u8]) -> usize {
        if self.chunk.is_empty() {
            return self.wire.take_past(room);
        }
        let count = copy_as_fits(&self.chunk, room);
        self.chunk.advance(count);
        count
    }

    /// The head that was told of first.
    pub(crate) fn take_head(&mut self) -> Vec<u8> {
        self.heads.pop_front().unwrap_or_default()
    }

    /// `name \n value \n …`
    pub(crate) fn take_trailers(&mut self) -> Vec<u8> {
        self.trailers.take().unwrap_or_default()
    }

    /// What has come of whatever the connection speaks now.
    pub(crate) fn into_unread(self) -> Vec<u8> {
        let mut unread = self.chunk.to_vec();
        unread.extend_from_slice(&self.connection.into_parts().read_buf);
        unread.extend_from_slice(&self.wire.take_unread());
        unread
    }

    /// Goes on until there is something to tell. `is_flowing`: the embedder wants bytes of the body.
    pub(crate) fn advance(&mut self, is_flowing: bool) -> Option<Told> {
        if self.has_chunk() {
            return is_flowing.then_some(Told::Chunk);
        }
        if is_flowing && self.is_whole() {
            return Some(self.complete());
        }
        loop {
            if let Some(told) = self.hear_head() {
                return Some(told);
            }
            if self.due.take() {
                self.drive();
            }
            let told = match (&mut self.answer, &mut self.body) {
                (Some(_), _) => self.hear_answer(),
                (None, Some(_)) if is_flowing => self.hear_body(),
                (None, _) => None,
            };
            if told.is_some() || !self.due.is_set() {
                return told;
            }
        }
    }

    /// Whether there are bytes of the body to tell, from hyper or past it.
    fn has_chunk(&self) -> bool {
        !self.chunk.is_empty() || (self.body.is_some() && self.wire.has_past())
    }

    /// Whether the answer's body has ended, as hyper has it, and nothing of it is still to come past hyper.
    fn is_whole(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_end_stream) && self.wire.past() == 0
    }

    fn drive(&mut self) {
        if !self.has_finished {
            let context = &mut Context::from_waker(&self.waker);
            // An error is the exchange's, and told there.
            self.has_finished = self.connection.poll_without_shutdown(context).is_ready();
        }
    }

    /// Looks whether a head has come. hyper hides all but the last, and names and order of its headers.
    fn hear_head(&mut self) -> Option<Told> {
        self.answer.as_ref()?;
        let may_have_body = !matches!(self.method, Method::HEAD | Method::CONNECT);
        match self.wire.take_head(may_have_body, self.limits.head) {
            Ok(None) => None,
            Ok(Some(head)) if head.is_informational() => {
                self.heads.push_back(head.text);
                Some(Told::Head { status: head.status, is_upgrade: false })
            }
            Err(breakage) | Ok(Some(AnswerHead { verdict: Err(breakage), .. })) => {
                self.answer = None;
                Some(Told::Broken(breakage))
            }
            Ok(Some(head)) => {
                self.is_old |= head.is_old;
                self.head = Some(head);
                None
            }
        }
    }

    fn hear_answer(&mut self) -> Option<Told> {
        let answer = self.answer.as_mut()?;
        let Poll::Ready(answered) = answer.as_mut().poll(&mut Context::from_waker(&self.waker)) else { return None };
        self.answer = None;
        let response = match answered {
            Ok(response) => response,
            Err(error) => return Breakage::of(&error).map(Told::Broken),
        };
        let Some(AnswerHead { status, text, .. }) = self.head.take() else {
            return Some(Told::Broken(Breakage::Header));
        };
        self.heads.push_back(text);
        // As undici and Node have it: a tunnel that was refused is told by its status, and what follows is the caller's to read.
        let is_upgrade = status == 101 || self.method == Method::CONNECT;
        if !is_upgrade {
            self.body = Some(response.into_body());
        }
        Some(Told::Head { status, is_upgrade })
    }

    fn hear_body(&mut self) -> Option<Told> {
        if self.wire.past() > 0 {
            return None;
        }
        loop {
            let body = self.body.as_mut()?;
            let context = &mut Context::from_waker(&self.waker);
            match Pin::new(body).poll_frame(context) {
                Poll::Pending => return None,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        self.chunk = data;
                        return Some(Told::Chunk);
                    }
                    Err(frame) => self.trailers = frame.trailers_ref().map(flat),
                },
                Poll::Ready(Some(Err(error))) => {
                    self.body = None;
                    return Breakage::of(&error).map(Told::Broken);
                }
                Poll::Ready(None) => return Some(self.complete()),
            }
        }
    }

    fn complete(&mut self) -> Told {
        self.body = None;
        self.drive();
        Told::Complete { has_trailers: self.trailers.is_some(), is_reusable: self.is_idle() }
    }
}

impl std::fmt::Debug for Speaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speaker").field("has_finished", &self.has_finished).finish_non_exhaustive()
    }
}
