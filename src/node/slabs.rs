//! The memory that reads go into.

#![expect(unsafe_code, reason = "memory lent by JavaScript is a pointer")]

use std::collections::VecDeque;

use super::js::Lent;
use crate::engine::environment::Slabs;

/// Slabs lent at a time; so many times 64 KiB can be read before JavaScript must be told.
pub(super) const COUNT: usize = 8;

/// A read this large is handed to JavaScript where it lies, and its slab with it. Anything smaller is copied out, so that a
/// kept slice does not pin much more than itself. `lib/environment.js` knows the same number.
const LARGE: usize = 16 * 1024;

/// A slab with less room than this is full: larger reads save more than its tail is worth.
const LEAST_ROOM: usize = 8 * 1024;

/// The slabs that JavaScript has lent, by number. What is in them is JavaScript's business until it has been told all.
#[derive(Debug, Default)]
pub(super) struct SlabTable {
    slabs: [Option<Lent>; COUNT],
    /// Nothing in them that is still to be told.
    fresh: VecDeque<usize>,
    /// Where the next read goes, and from where in it.
    current: Option<(usize, usize)>,
    full: Vec<usize>,
}

impl SlabTable {
    /// A number whose slab JavaScript must replace, once it has seen all that was read into it.
    pub(super) fn vacant(&self) -> Option<usize> {
        self.slabs.iter().position(Option::is_none)
    }

    /// Lends a slab under a vacant number.
    pub(super) fn lend(&mut self, number: usize, slab: Lent) {
        if let Some(place @ None) = self.slabs.get_mut(number) {
            *place = Some(slab);
            self.fresh.push_back(number);
        } else {
            slab.give_back();
        }
    }

    /// All that was read has been told: the slabs that were not handed out may be written again.
    pub(super) fn rewind(&mut self) {
        self.fresh.extend(self.full.drain(..));
        if let Some((number, _)) = self.current.take() {
            self.fresh.push_front(number);
        }
    }
}

impl Slabs for SlabTable {
    fn room(&mut self) -> Option<&mut [u8]> {
        let (number, offset) = match self.current {
            Some(current) => current,
            None => (self.fresh.pop_front()?, 0),
        };
        self.current = Some((number, offset));
        let slab = self.slabs.get_mut(number)?.as_mut()?;
        // SAFETY: a slab that was shown to anyone but `lib/environment.js` is not in the table any more, so it cannot
        // have been detached; and the engine hands the slice to `recv` alone, while no JavaScript runs.
        Some(unsafe { slab.from(offset) })
    }

    fn commit(&mut self, length: usize) -> (u32, u32) {
        let Some((number, offset)) = self.current else { return (0, 0) };
        let end = offset + length;
        let size = self.slabs.get(number).and_then(Option::as_ref).map_or(0, Lent::len);
        self.current = None;
        if length >= LARGE {
            if let Some(slab) = self.slabs.get_mut(number).and_then(Option::take) {
                slab.give_back();
            }
        } else if size - end.min(size) < LEAST_ROOM {
            self.full.push(number);
        } else {
            self.current = Some((number, end));
        }
        (u32::try_from(number).unwrap_or(u32::MAX), u32::try_from(offset).unwrap_or(u32::MAX))
    }
}
