//! One exchange on an HTTP/2 connection.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use super::head::flat;
use super::session::Heard;
use super::{Limits, copy_as_fits};

/// Where its answer is.
enum Answer {
    Awaited(ResponseFuture),
    Read(RecvStream),
    /// To be told as this, once.
    Failed(Heard),
    Over,
}

/// What h2 has of an exchange, and what of it the embedder has not heard.
pub(super) struct Stream {
    request: Option<SendStream<Bytes>>,
    pushed: VecDeque<Bytes>,
    is_whole: bool,
    is_awaited: bool,
    answer: Answer,
    is_flowing: bool,
    heads: VecDeque<Vec<u8>>,
    pub(super) chunk: Bytes,
    trailers: Option<Vec<u8>>,
    limits: Limits,
}

impl Stream {
    pub(super) fn new(sent: Result<(ResponseFuture, SendStream<Bytes>), h2::Error>, limits: Limits) -> Self {
        let (answer, request) = match sent {
            Ok((answer, request)) => (Answer::Awaited(answer), Some(request)),
            Err(error) => (Answer::Failed(heard_of(&error)), None),
        };
        Self {
            request,
            pushed: VecDeque::new(),
            is_whole: false,
            is_awaited: false,
            answer,
            is_flowing: true,
            heads: VecDeque::new(),
            chunk: Bytes::new(),
            trailers: None,
            limits,
        }
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        if self.request.is_some() {
            self.pushed.push_back(chunk);
        }
    }

    pub(super) fn finish(&mut self) {
        self.is_whole = true;
    }

    pub(super) fn await_room(&mut self) -> bool {
        self.is_awaited = !self.pushed.is_empty();
        !self.is_awaited
    }

    pub(super) fn set_flowing(&mut self, is_flowing: bool) {
        self.is_flowing = is_flowing;
    }

    pub(super) fn take_head(&mut self) -> Vec<u8> {
        self.heads.pop_front().unwrap_or_default()
    }

    pub(super) fn take_trailers(&mut self) -> Vec<u8> {
        self.trailers.take().unwrap_or_default()
    }

    /// Takes bytes of the body that came, as many as there is `room` for: the peer may send as many more.
    pub(super) fn take_chunk(&mut self, room: &mut [u8]) -> usize {
        let count = copy_as_fits(&self.chunk, room);
        self.chunk.advance(count);
        if let Answer::Read(body) = &mut self.answer {
            // Of a stream that has ended, nobody keeps count.
            drop(body.flow_control().release_capacity(count));
        }
        count
    }

    /// Goes on until there is something to tell.
    pub(super) fn advance(&mut self, context: &mut Context<'_>) -> Option<Heard> {
        self.send(context);
        if self.is_awaited && self.pushed.is_empty() {
            self.is_awaited = false;
            return Some(Heard::Room);
        }
        if !self.chunk.is_empty() {
            return self.is_flowing.then_some(Heard::Chunk);
        }
        match &mut self.answer {
            Answer::Awaited(_) => self.hear_head(context),
            Answer::Read(_) if self.is_flowing => self.hear_body(context),
            Answer::Failed(heard) => {
                let heard = *heard;
                self.answer = Answer::Over;
                Some(heard)
            }
            Answer::Read(_) | Answer::Over => None,
        }
    }

    /// Gives h2 as much of the request's body as the peer has room for.
    fn send(&mut self, context: &mut Context<'_>) {
        let Some(request) = &mut self.request else { return };
        while let Some(chunk) = self.pushed.front_mut() {
            request.reserve_capacity(chunk.len());
            if request.capacity() == 0 {
                match request.poll_capacity(context) {
                    Poll::Pending => return,
                    Poll::Ready(Some(Ok(0))) => continue,
                    Poll::Ready(Some(Ok(_))) => {}
                    // The peer wants no more of it; what it says instead is its answer.
                    Poll::Ready(Some(Err(_)) | None) => {
                        // No room: what is refused begins again with what was pushed so far.
                        self.is_awaited = false;
                        return self.stop_sending();
                    }
                }
            }
            let room = request.capacity().min(chunk.len());
            let part = chunk.split_to(room);
            if chunk.is_empty() {
                self.pushed.pop_front();
            }
            let is_last = self.is_whole && self.pushed.is_empty();
            if request.send_data(part, is_last).is_err() || is_last {
                return self.stop_sending();
            }
        }
        if self.is_whole {
            // That the peer has reset it is told by the answer.
            drop(request.send_data(Bytes::new(), true));
            self.stop_sending();
        }
    }

    fn stop_sending(&mut self) {
        self.pushed.clear();
        self.request = None;
    }

    fn hear_head(&mut self, context: &mut Context<'_>) -> Option<Heard> {
        let Answer::Awaited(answer) = &mut self.answer else { return None };
        if let Poll::Ready(Some(Ok(head))) = answer.poll_informational(context) {
            return Some(self.heard_head(head.status().as_u16(), head.headers()));
        }
        match Pin::new(answer).poll(context) {
            Poll::Pending => None,
            Poll::Ready(Ok(response)) => {
                let (head, body) = response.into_parts();
                self.answer = Answer::Read(body);
                Some(self.heard_head(head.status.as_u16(), &head.headers))
            }
            Poll::Ready(Err(error)) => Some(self.failed(&error)),
        }
    }

    fn heard_head(&mut self, status: u16, headers: &HeaderMap) -> Heard {
        // As the peer counts it (RFC 9113, 6.5.2).
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        if size > self.limits.head {
            self.answer = Answer::Over;
            return Heard::TooLarge;
        }
        // No reason phrase, which is an empty first line.
        let mut text = Vec::new();
        if !headers.is_empty() {
            text.push(b'\n');
            text.append(&mut flat(headers));
        }
        self.heads.push_back(text);
        Heard::Head(status)
    }

    fn hear_body(&mut self, context: &mut Context<'_>) -> Option<Heard> {
        loop {
            let Answer::Read(body) = &mut self.answer else { return None };
            match body.poll_data(context) {
                Poll::Pending => return None,
                Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                Poll::Ready(Some(Ok(data))) => {
                    self.chunk = data;
                    return Some(Heard::Chunk);
                }
                Poll::Ready(Some(Err(error))) => return Some(self.failed(&error)),
                Poll::Ready(None) => break,
            }
        }
        let Answer::Read(body) = &mut self.answer else { return None };
        match body.poll_trailers(context) {
            Poll::Pending => None,
            Poll::Ready(Ok(trailers)) => {
                self.trailers = trailers.as_ref().map(flat);
                self.answer = Answer::Over;
                Some(Heard::Complete { has_trailers: self.trailers.is_some() })
            }
            Poll::Ready(Err(error)) => Some(self.failed(&error)),
        }
    }

    fn failed(&mut self, error: &h2::Error) -> Heard {
        self.answer = Answer::Over;
        heard_of(error)
    }
}

fn heard_of(error: &h2::Error) -> Heard {
    // h2 tells a stream of the peer's GOAWAY only if that leaves it out.
    let is_refused = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
    match error.reason() {
        _ if error.is_remote() && is_refused => Heard::Refused,
        Some(reason) => Heard::Reset(reason.into()),
        None if error.is_io() => Heard::Cut,
        // What is left are requests that h2 finds wrong.
        None => Heard::Reset(Reason::PROTOCOL_ERROR.into()),
    }
}
