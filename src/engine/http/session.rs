//! HTTP/2, spoken by h2 over one connection that many exchanges share. Its pipe is the same as hyper's.
//!
//! Streams are polled when h2 says that there is something for them: who is due stands on an agenda.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};

use super::head::Misfit;
use super::stream::Stream;
use super::wire::Wire;
use super::{Limits, RequestHead};

/// What a session begins with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of an answer's head.
    pub head: usize,
    /// So many streams until the peer has said how many, as it should at once.
    pub streams: usize,
    /// So many bytes of an answer may be on their way before somebody reads them.
    pub stream_window: u32,
    /// Of all answers together.
    pub window: u32,
}

impl Settings {
    /// 100 streams, as RFC 9113, 6.5.2, asks for; 1 MiB of each answer, and of all together no less than that: nobody's answer
    /// waits for another's reader.
    #[must_use]
    pub fn new(head: usize) -> Self {
        Self { head, streams: 100, stream_window: 1 << 20, window: (1 << 31) - 1 }
    }
}

/// So many of those that were given up lately h2 knows.
const MOST_GIVEN_UP: usize = 1024;

/// h2 counts the bytes that small frames waste, and gives a peer up that wastes too many. Those that nobody has read yet count,
/// and an answer in pieces of a few bytes (events, say) is no attack.
const WASTE: usize = 64 << 20;

/// Streams are called as their owner calls them; none is called so.
const CONNECTION: u32 = u32::MAX;

/// One fact about a stream, in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A head; [`Session::take_head`] has it.
    Head(u16),
    /// There are bytes of the body; [`Session::take_chunk`] has them.
    Chunk,
    /// All that was pushed has left.
    Room,
    /// The answer is whole. Nothing follows.
    Complete { has_trailers: bool },
    /// The answer's head is larger than allowed. Nothing follows.
    TooLarge,
    /// The peer says that it has not looked at the request. Nothing follows.
    Refused,
    /// One side has given the stream up, with this error code. Nothing follows.
    Reset(u32),
    /// The connection has ended before the answer was whole. Nothing follows.
    Cut,
}

#[derive(Debug, Default)]
#[expect(clippy::disallowed_types, reason = "a waker must be fit for any thread; ours never leave this one")]
struct Agenda(std::sync::Mutex<VecDeque<u32>>);

impl Agenda {
    fn with<T>(&self, work: impl FnOnce(&mut VecDeque<u32>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Puts somebody on the agenda, once.
#[derive(Debug)]
struct Mark {
    agenda: Arc<Agenda>,
    who: u32,
    is_due: AtomicBool,
}

impl Mark {
    fn new(agenda: &Arc<Agenda>, who: u32) -> Arc<Self> {
        Arc::new(Self { agenda: Arc::clone(agenda), who, is_due: AtomicBool::new(false) })
    }

    fn set(&self) {
        if !self.is_due.swap(true, Ordering::Relaxed) {
            self.agenda.with(|due| due.push_back(self.who));
        }
    }

    fn clear(&self) {
        self.is_due.store(false, Ordering::Relaxed);
    }
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}

struct Entry {
    mark: Arc<Mark>,
    stream: Stream,
}

/// h2's side of a connection, and the streams on it.
pub(crate) struct Session {
    wire: Wire,
    sender: SendRequest<Bytes>,
    connection: Connection<Wire, Bytes>,
    pings: Option<PingPong>,
    mark: Arc<Mark>,
    agenda: Arc<Agenda>,
    streams: BTreeMap<u32, Entry>,
    head: usize,
    has_finished: bool,
}

impl Session {
    /// h2 for a connection that nothing was said on. `None` would be h2's failure to begin, which it has no cause for.
    pub(crate) fn new(settings: Settings) -> Option<Self> {
        let wire = Wire::default();
        let agenda = Arc::default();
        let mark = Mark::new(&agenda, CONNECTION);
        let handshake = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(settings.window)
            .initial_max_send_streams(settings.streams)
            .data_frame_budget(WASTE)
            // What still comes of streams that were given up is no fault of the peer's.
            .max_concurrent_reset_streams(MOST_GIVEN_UP)
            .max_local_error_reset_streams(None)
            // A head that h2 finds too large can cost the connection, so that it has to be larger by far.
            .max_header_list_size(u32::try_from(settings.head.saturating_mul(8)).unwrap_or(u32::MAX))
            .handshake::<_, Bytes>(wire.clone());
        let waker = Waker::from(Arc::clone(&mark));
        let Poll::Ready(Ok((sender, mut connection))) =
            std::pin::pin!(handshake).poll(&mut Context::from_waker(&waker))
        else {
            return None;
        };
        let pings = connection.ping_pong();
        mark.set();
        Some(Self {
            wire,
            sender,
            connection,
            pings,
            mark,
            agenda,
            streams: BTreeMap::new(),
            head: settings.head,
            has_finished: false,
        })
    }

    /// So many streams the peer has room for.
    pub(crate) fn most_streams(&self) -> usize {
        self.connection.max_concurrent_send_streams()
    }

    /// Whether none can begin any more: the peer says so, or the connection is over. A peer that has room for none, and answers
    /// none, may never have any again.
    pub(crate) fn is_closing(&mut self) -> bool {
        self.has_finished
            || self.streams.is_empty() && self.most_streams() == 0
            || matches!(self.sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// Those that are not over.
    pub(crate) fn streams(&self) -> Vec<u32> {
        self.streams.keys().copied().collect()
    }

    /// Begins an exchange, called `who`. `has_body`: pieces of it are pushed, and then it is finished.
    pub(crate) fn begin(&mut self, who: u32, head: RequestHead, has_body: bool) -> Result<(), Misfit> {
        let request = head.into_shared()?;
        // Each its own handle: one holds back its second request while the first has no room.
        let sent = self.sender.clone().send_request(request, !has_body);
        let mark = Mark::new(&self.agenda, who);
        mark.set();
        self.streams.insert(who, Entry { mark, stream: Stream::new(sent, Limits { head: self.head }) });
        Ok(())
    }

    fn stream(&mut self, who: u32) -> Option<&mut Stream> {
        self.streams.get_mut(&who).map(|entry| &mut entry.stream)
    }

    fn change<T>(&mut self, who: u32, work: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let entry = self.streams.get_mut(&who)?;
        entry.mark.set();
        Some(work(&mut entry.stream))
    }

    /// Puts in a piece of a request's body.
    pub(crate) fn push(&mut self, who: u32, chunk: Bytes) {
        self.change(who, |stream| stream.push(chunk));
    }

    /// A request's body is whole.
    pub(crate) fn finish(&mut self, who: u32) {
        self.change(who, Stream::finish);
    }

    /// Whether all that was pushed has left; if not, [`Heard::Room`] follows.
    pub(crate) fn await_room(&mut self, who: u32) -> bool {
        self.change(who, Stream::await_room).unwrap_or(true)
    }

    /// Whether the embedder wants bytes of an answer.
    pub(crate) fn set_flowing(&mut self, who: u32, is_flowing: bool) {
        self.change(who, |stream| stream.set_flowing(is_flowing));
    }

    /// The embedder has no use for a stream any more; if it is not over, the peer is told.
    pub(crate) fn forget(&mut self, who: u32) {
        self.streams.remove(&who);
        self.mark.set();
    }

    /// The head that was told of first.
    pub(crate) fn take_head(&mut self, who: u32) -> Vec<u8> {
        self.stream(who).map(Stream::take_head).unwrap_or_default()
    }

    /// `name \n value \n …`
    pub(crate) fn take_trailers(&mut self, who: u32) -> Vec<u8> {
        self.stream(who).map(Stream::take_trailers).unwrap_or_default()
    }

    /// Takes bytes that [`Heard::Chunk`] told of, as many as there is `room` for; answers how many.
    pub(crate) fn take_chunk(&mut self, who: u32, room: &mut [u8]) -> usize {
        self.stream(who).map_or(0, |stream| stream.take_chunk(room))
    }

    /// Puts in what has come, the first `count` bytes of `memory`.
    pub(crate) fn feed(&mut self, memory: Vec<u8>, count: usize) {
        self.wire.feed(memory, count);
        self.mark.set();
    }

    /// Gives back the memory that was fed.
    pub(crate) fn reclaim(&mut self) -> Vec<u8> {
        self.wire.reclaim()
    }

    /// Nothing more will come.
    pub(crate) fn end(&mut self) {
        self.wire.end();
        self.mark.set();
    }

    /// Whether there is something to tell.
    pub(crate) fn has_backlog(&self) -> bool {
        self.agenda.with(|due| !due.is_empty())
    }

    /// What h2 wrote since the last time.
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
        self.mark.set();
    }

    /// Asks the peer whether it is there; `false` while an earlier question is unanswered.
    pub(crate) fn ping(&mut self) -> bool {
        self.mark.set();
        self.pings.as_mut().is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok())
    }

    /// Goes on until there is something to tell.
    pub(crate) fn advance(&mut self) -> Option<(u32, Heard)> {
        loop {
            let who = self.agenda.with(VecDeque::pop_front)?;
            if who == CONNECTION {
                self.drive();
                continue;
            }
            let Some(Entry { mark, stream }) = self.streams.get_mut(&who) else { continue };
            mark.clear();
            let waker = Waker::from(Arc::clone(mark));
            if let Some(heard) = stream.advance(&mut Context::from_waker(&waker)) {
                // There may be more.
                mark.set();
                return Some((who, heard));
            }
        }
    }

    fn drive(&mut self) {
        self.mark.clear();
        let waker = Waker::from(Arc::clone(&self.mark));
        let context = &mut Context::from_waker(&waker);
        if !self.has_finished {
            // An error is told by the streams.
            self.has_finished = Pin::new(&mut self.connection).poll(context).is_ready();
        }
        if let Some(pings) = &mut self.pings {
            // So that the next one can be sent.
            drop(pings.poll_pong(context));
        }
        if self.has_finished {
            for entry in self.streams.values() {
                entry.mark.set();
            }
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_streams_as_asked_for_until_the_peer_says() {
        let session = Session::new(Settings { streams: 3, ..Settings::new(1024) }).expect("h2 begins");
        assert_eq!(session.most_streams(), 3);
    }
}
