//! Bytes on their way to the kernel.

/// So much memory stays with a connection in use: as it is filled again and again, it would be had anew each time.
const MOST_KEPT: usize = 512 * 1024;

/// Bytes that the kernel has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    sent: usize,
}

impl Output {
    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, count: usize) {
        self.bytes.reserve(count);
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unsent().is_empty()
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(MOST_KEPT);
            self.sent = 0;
        }
    }

    /// Without its memory too: of many idle connections even a little would be much.
    pub(crate) fn clear(&mut self) {
        self.replace(Vec::new());
    }

    pub(crate) fn replace(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
        self.sent = 0;
    }
}
