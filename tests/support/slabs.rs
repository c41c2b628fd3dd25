//! Memory for reads, on the heap.

use holdfast::engine::environment::Slabs;

const SLAB: usize = 64 * 1024;

/// A slab with less room than this is not read into any more.
const LEAST_ROOM: usize = 8 * 1024;

/// So many slabs at a time; what was read must be taken before they are lent again.
#[derive(Debug)]
pub(crate) struct HeapSlabs {
    slabs: Vec<Vec<u8>>,
    current: usize,
    offset: usize,
}

impl HeapSlabs {
    pub(crate) fn new(count: usize) -> Self {
        Self { slabs: vec![vec![0; SLAB]; count], current: 0, offset: 0 }
    }

    /// What was read.
    pub(crate) fn slice(&self, slab: u32, offset: u32, length: u32) -> &[u8] {
        let (start, end) = (offset as usize, (offset + length) as usize);
        self.slabs
            .get(slab as usize)
            .and_then(|slab| slab.get(start..end))
            .expect("an event names memory that was lent")
    }

    /// All that was read has been taken.
    pub(crate) fn lend_again(&mut self) {
        (self.current, self.offset) = (0, 0);
    }
}

impl Slabs for HeapSlabs {
    fn room(&mut self) -> Option<&mut [u8]> {
        self.slabs.get_mut(self.current)?.get_mut(self.offset..)
    }

    fn commit(&mut self, length: usize) -> (u32, u32) {
        let place = (u32::try_from(self.current).expect("few"), u32::try_from(self.offset).expect("small"));
        self.offset += length;
        if SLAB - self.offset < LEAST_ROOM {
            (self.current, self.offset) = (self.current + 1, 0);
        }
        place
    }
}
