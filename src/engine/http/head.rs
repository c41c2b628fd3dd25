//! Heads, as they are on the wire; hyper gets of them what frames a body.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Scheme};
use http::{Method, Request, StatusCode, Uri, Version};
use httparse::{Header, ParserConfig, Status};

use super::Breakage;

/// Part of a request that HTTP cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Its method.
    Method,
    /// Its path.
    Path,
    /// One of its headers.
    Header,
    /// Nothing of it: the connection can have no exchange.
    Connection,
}

/// A request without its body, as HTTP/1.1 has it on the wire.
#[derive(Debug)]
pub struct RequestHead {
    text: Bytes,
    method: Method,
    /// Where its target, and its headers, are in `text`.
    target: Range<usize>,
    headers: usize,
    framing: HeaderMap,
}

impl RequestHead {
    /// Reads a head, down to its empty line.
    ///
    /// # Errors
    /// Names the part that HTTP cannot have.
    pub fn parse(text: &Bytes) -> Result<Self, Misfit> {
        let end = text.iter().position(|byte| *byte == b'\r').ok_or(Misfit::Path)?;
        let mut words = text.get(..end).unwrap_or_default().splitn(3, |byte| *byte == b' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_target = !target.is_empty() && target.iter().all(|byte| *byte > b' ' && *byte != DELETE);
        if !is_target || words.next() != Some(b"HTTP/1.1") {
            return Err(Misfit::Path);
        }
        let target = method.len() + 1..method.len() + 1 + target.len();
        let method = Method::from_bytes(method).map_err(|_| Misfit::Method)?;
        let mut head = Self { method, target, headers: end + 2, framing: HeaderMap::new(), text: text.clone() };
        for Header { name, value } in fields(text, head.headers)? {
            if is_framing(name, value, false) {
                append(&mut head.framing, text, name, value)?;
            }
        }
        Ok(head)
    }

    /// Whether it says how long its body is.
    pub(super) fn tells_length(&self) -> bool {
        self.framing.contains_key(CONTENT_LENGTH) || self.framing.contains_key(TRANSFER_ENCODING)
    }

    /// The head as it goes out, and what hyper needs to know of it.
    pub(super) fn into_framing(self) -> (Bytes, Request<()>) {
        let mut request = Request::new(());
        *request.method_mut() = self.method;
        *request.headers_mut() = self.framing;
        (self.text, request)
    }

    /// The same for HTTP/2, which says by other means what the headers of one connection say (RFC 9113, 8.2.2).
    ///
    /// # Errors
    /// Names the part that HTTP/2 cannot have.
    pub(super) fn into_shared(self) -> Result<Request<()>, Misfit> {
        let mut request = Request::new(());
        let headers = request.headers_mut();
        for Header { name, value } in fields(&self.text, self.headers)? {
            append(headers, &self.text, name, value)?;
        }
        let host = headers.remove(HOST).ok_or(Misfit::Header)?;
        for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, PROXY_CONNECTION, KEEP_ALIVE, HTTP2_SETTINGS] {
            headers.remove(name);
        }
        if headers.get_all(TE).iter().any(|value| value != "trailers") {
            headers.remove(TE);
        }
        if host.as_bytes().contains(&b'@') {
            return Err(Misfit::Header); // RFC 9113, 8.3.1
        }
        let target = Uri::from_maybe_shared(self.text.slice(self.target)).map_err(|_| Misfit::Path)?;
        let mut target = target.into_parts();
        target.scheme = Some(Scheme::HTTPS);
        target.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| Misfit::Header)?);
        *request.uri_mut() = Uri::from_parts(target).map_err(|_| Misfit::Path)?;
        *request.method_mut() = self.method;
        *request.version_mut() = Version::HTTP_2;
        Ok(request)
    }
}

/// The headers of `text`, which begin at `from`, and behind which is nothing.
fn fields(text: &Bytes, from: usize) -> Result<Vec<Header<'_>>, Misfit> {
    let text = text.get(from..).unwrap_or_default();
    let mut fields = vec![httparse::EMPTY_HEADER; text.split(|byte| *byte == b'\n').count()];
    let Ok(Status::Complete((length, parsed))) = httparse::parse_headers(text, &mut fields) else {
        return Err(Misfit::Header);
    };
    let count = parsed.len();
    fields.truncate(count);
    if length == text.len() { Ok(fields) } else { Err(Misfit::Header) }
}

fn append(headers: &mut HeaderMap, text: &Bytes, name: &str, value: &[u8]) -> Result<(), Misfit> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Misfit::Header)?;
    let value = HeaderValue::from_maybe_shared(text.slice_ref(value)).map_err(|_| Misfit::Header)?;
    // A map of headers has a limit, which `append` panics at.
    headers.try_append(name, value).map(drop).map_err(|_| Misfit::Header)
}

const DELETE: u8 = 0x7f;

const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// An answer's head as the server wrote it.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: u16,
    /// The server speaks HTTP/1.0.
    pub(super) is_old: bool,
    /// `reason`, and `\n name \n value` for each header.
    pub(super) text: Vec<u8>,
    /// Its bytes.
    pub(super) length: usize,
    /// How many bytes of a body follow, where that is said once and plainly: hyper has no need of them.
    pub(super) past: Option<u64>,
    /// What is wrong with it by more than HTTP's grammar.
    pub(super) verdict: Result<(), Breakage>,
}

const CONTENT_LENGTH: &str = "content-length";

/// Whether hyper needs a header: it says where a message ends, or whether the connection does, and that not only as
/// HTTP/1.1 has it anyway. Without any, hyper can use its memory again for the next message.
fn is_framing(name: &str, value: &[u8], is_old: bool) -> bool {
    if name.eq_ignore_ascii_case("connection") {
        return is_old || !value.eq_ignore_ascii_case(b"keep-alive");
    }
    name.eq_ignore_ascii_case(CONTENT_LENGTH) || name.eq_ignore_ascii_case("transfer-encoding")
}

/// What hyper hears of an answer whose body goes past it.
const BODILESS: StatusCode = StatusCode::NO_CONTENT;

impl AnswerHead {
    /// The first head in `bytes`, once it is whole; `framing` becomes the same without what hyper has no use for, and of an
    /// answer without a body if it can go `past`. `may_have_body`: by the request's method.
    pub(super) fn parse(bytes: &[u8], may_have_body: bool, framing: &mut Vec<u8>) -> httparse::Result<Self> {
        framing.clear();
        let (mut few, mut many) = ([MaybeUninit::uninit(); 64], Vec::new());
        let config = ParserConfig::default();
        let mut answer = httparse::Response::new(&mut []);
        let mut parsed = config.parse_response_with_uninit_headers(&mut answer, bytes, &mut few);
        if parsed == Err(httparse::Error::TooManyHeaders) {
            many.resize(bytes.len() / SHORTEST, MaybeUninit::uninit());
            parsed = config.parse_response_with_uninit_headers(&mut answer, bytes, &mut many);
        }
        let Status::Complete(length) = parsed? else { return Ok(Status::Partial) };
        let status = StatusCode::from_u16(answer.code.unwrap_or_default()).map_err(|_| httparse::Error::Status)?;
        let is_old = answer.version == Some(0);
        let version: &[u8] = if is_old { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
        let mut text = Vec::with_capacity(length);
        text.extend_from_slice(answer.reason.unwrap_or_default().as_bytes());
        let verdict = judge(answer.headers);
        let may_pass = may_have_body && has_body(status) && verdict.is_ok();
        let past = if may_pass { length_of(answer.headers) } else { None };
        let framed = if past.is_some() { BODILESS } else { status };
        // hyper keeps a reason that it would not have written itself.
        let reason = framed.canonical_reason().unwrap_or_default();
        let mut frame = |parts: [&[u8]; 4]| parts.iter().for_each(|part| framing.extend_from_slice(part));
        frame([version, framed.as_str().as_bytes(), b" ", reason.as_bytes()]);
        for Header { name, value } in answer.headers.iter() {
            text.push(b'\n');
            text.extend_from_slice(name.as_bytes());
            text.push(b'\n');
            text.extend_from_slice(value);
            if is_framing(name, value, is_old) && !(past.is_some() && name.eq_ignore_ascii_case(CONTENT_LENGTH)) {
                frame([b"\r\n", name.as_bytes(), b": ", value]);
            }
        }
        framing.extend_from_slice(b"\r\n\r\n");
        Ok(Status::Complete(Self { status: status.as_u16(), is_old, text, length, past, verdict }))
    }

    /// Whether another head follows.
    pub(super) fn is_informational(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// `a:\n`
const SHORTEST: usize = 3;

/// `name \n value`, and so on.
pub(super) fn flat(headers: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in headers {
        if !text.is_empty() {
            text.push(b'\n');
        }
        text.extend_from_slice(name.as_str().as_bytes());
        text.push(b'\n');
        text.extend_from_slice(value.as_bytes());
    }
    text
}

/// RFC 9112, 6.3: whether a length says how much follows.
fn has_body(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// The length of a body, where it is said once, and plainly.
fn length_of(headers: &[Header<'_>]) -> Option<u64> {
    let mut lengths = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(CONTENT_LENGTH));
    let (Some(Header { value, .. }), None) = (lengths.next(), lengths.next()) else { return None };
    let is_plain = value.iter().all(u8::is_ascii_digit);
    str::from_utf8(value).ok().filter(|_| is_plain).and_then(|digits| digits.parse().ok())
}

/// Two ways to say how long a body is are one too many: whoever stands in between may have believed the other.
fn judge(headers: &[Header<'_>]) -> Result<(), Breakage> {
    let all = |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    // hyper takes what means the same number; others may not (`030` and `30`).
    let mut lengths = all(CONTENT_LENGTH).flat_map(|header| header.value.split(|byte| *byte == b','));
    let first = lengths.next().map(<[u8]>::trim_ascii);
    let agree = lengths.all(|other| Some(other.trim_ascii()) == first);
    let is_both = first.is_some() && all("transfer-encoding").next().is_some();
    if is_both || !agree { Err(Breakage::Length) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &'static str) -> Result<RequestHead, Misfit> {
        RequestHead::parse(&Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn request_is_framed_for_hyper_and_stays_as_it_was() {
        let text = "POST /a?b HTTP/1.1\r\nHost: x\r\nX-B: 1\r\nConnection: keep-alive\r\nConnection: close\r\nContent-Length: 3\r\n\r\n";
        let head = request(text).expect("fits");
        let (out, framing) = head.into_framing();
        assert_eq!(framing.method(), Method::POST);
        assert_eq!(
            framing.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["connection", "content-length"]
        );
        assert_eq!(out, text);
    }

    #[test]
    fn names_the_part_that_does_not_fit() {
        let misfits = [
            ("G\u{e9}T / HTTP/1.1\r\n\r\n", Misfit::Method),
            ("GET /a b HTTP/1.1\r\n\r\n", Misfit::Path),
            ("GET /\x7f HTTP/1.1\r\n\r\n", Misfit::Path),
            ("GET  HTTP/1.1\r\n\r\n", Misfit::Path),
            ("GET / HTTP/1.1", Misfit::Path),
            ("GET / HTTP/1.1\r\na b: 1\r\n\r\n", Misfit::Header),
            ("GET / HTTP/1.1\r\na: \x01\r\n\r\n", Misfit::Header),
            ("GET / HTTP/1.1\r\na: b\r\n", Misfit::Header),
            ("GET / HTTP/1.1\r\na: b\r\n\r\nGET /admin HTTP/1.1\r\n\r\n", Misfit::Header),
        ];
        for (text, misfit) in misfits {
            assert_eq!(request(text).err(), Some(misfit), "{text:?}");
        }
        assert!(RequestHead::parse(&Bytes::from_static(b"GET /\xe9 HTTP/1.1\r\nx-a: \xe9\r\n\r\n")).is_ok());
    }

    #[test]
    fn lengths_agree_to_the_letter() {
        let judged = |values: &[&'static str]| {
            judge(
                &values
                    .iter()
                    .map(|value| Header { name: "Content-Length", value: value.as_bytes() })
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(judged(&["30", "30"]), Ok(()));
        assert_eq!(judged(&["30, 30"]), Ok(()));
        assert_eq!(judged(&["30", "030"]), Err(Breakage::Length));
        assert_eq!(judged(&["030, 30"]), Err(Breakage::Length));
    }

    #[test]
    fn headers_beyond_what_a_map_holds_are_refused_where_there_is_one() {
        let mut text = String::from("GET / HTTP/1.1\r\nhost: x\r\n");
        for n in 0..40_000 {
            text.extend(["x-", &n.to_string(), ": 1\r\n"]);
        }
        let head = RequestHead::parse(&Bytes::from(text + "\r\n")).expect("fits");
        assert_eq!(head.into_shared().err(), Some(Misfit::Header));
    }

    #[test]
    fn shared_head_has_its_host_in_its_target_and_nothing_of_a_connection() {
        let head = "GET /a?b HTTP/1.1\r\nHost: x.example:1\r\nconnection: close\r\ntransfer-encoding: chunked\r\nte: gzip\r\nx-a: 1\r\n\r\n";
        let request = request(head).and_then(RequestHead::into_shared).expect("fits");
        assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::GET, "https://x.example:1/a?b"));
        assert_eq!(request.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-a"]);
    }

    fn whole(bytes: &[u8], may_have_body: bool) -> (AnswerHead, String) {
        let mut framing = b"of the last one".to_vec();
        let Ok(Status::Complete(head)) = AnswerHead::parse(bytes, may_have_body, &mut framing) else {
            panic!("a head")
        };
        (head, String::from_utf8(framing).expect("text"))
    }

    #[test]
    fn answer_is_told_as_written() {
        let (head, _) = whole(b"HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nX: b\r\nset-cookie: c\r\n\r\nbody", true);
        assert_eq!((head.status, head.length), (200, 57));
        assert_eq!(head.text, b"Fine\nSet-Cookie\na\nX\nb\nset-cookie\nc");
        assert_eq!(
            AnswerHead::parse(b"HTTP/1.1 200 Fine\r\nSet", true, &mut Vec::new()).map(|it| it.is_partial()),
            Ok(true)
        );
    }

    #[test]
    fn hyper_is_told_where_it_ends() {
        let (_, framing) = whole(
            b"HTTP/1.0 404 Gone fishing\r\nDate: now\r\nCONNECTION:keep-alive\r\ncontent-Length:\t3\r\nconnection: x\r\n\r\n",
            false,
        );
        assert_eq!(
            framing,
            "HTTP/1.0 404 Not Found\r\nCONNECTION: keep-alive\r\ncontent-Length: 3\r\nconnection: x\r\n\r\n"
        );
    }

    #[test]
    fn body_whose_length_is_plain_goes_past_hyper() {
        let framed = |status: &str, headers: &str, may_have_body| {
            let (head, framing) = whole(format!("HTTP/1.1 {status}\r\n{headers}\r\n").as_bytes(), may_have_body);
            assert_eq!(head.status.to_string(), status);
            (head.past, framing)
        };
        for length in [0, 5, 1 << 40] {
            let headers = format!("Content-Length: {length}\r\nConnection: Keep-Alive\r\nConnection: close\r\n");
            let past = framed("299", &headers, true);
            assert_eq!(past, (Some(length), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned()));
        }
        let not_plain = ["+5", "5, 5", "5\r\nContent-Length: 5", "99999999999999999999", "x"];
        for (status, length, may_have_body) in
            not_plain.map(|length| ("299", length, true)).into_iter().chain([("304", "5", true), ("299", "5", false)])
        {
            let headers = format!("Content-Length: {length}\r\n");
            let (past, framing) = framed(status, &headers, may_have_body);
            assert!(past.is_none() && framing.ends_with(&format!("\r\n{headers}\r\n")), "{framing}");
        }
    }

    #[test]
    fn answer_may_have_as_many_headers_as_fit() {
        let head = format!("HTTP/1.1 200 OK\n{}\n", "a:\n".repeat(5000));
        assert_eq!(whole(head.as_bytes(), true).0.text.len(), 2 + 5000 * 3);
    }
}
