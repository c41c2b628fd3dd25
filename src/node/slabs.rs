//! The memory that reads go into.

#![expect(unsafe_code, reason = "memory lent by JavaScript is a pointer")]

use std::collections::VecDeque;

use super::js::Lent;
use crate::engine::environment::Slabs;

/// Slabs lent at a time; so many times 64 KiB can be read before JavaScript must be told.
pub(super) const COUNT: usize = 8;

/// A read this large ends its slab, so that a kept slice does not pin much more than itself.
const LARGE: usize = 16 * 1024;

/// A slab with less room than this is retired: larger reads save more than its tail is worth.
const LEAST_ROOM: usize = 8 * 1024;

/// The slabs that JavaScript has lent, by number.
#[derive(Debug, Default)]
pub(super) struct SlabTable {
    slabs: [Option<Lent>; COUNT],
    /// Not begun yet.
    fresh: VecDeque<usize>,
    /// Where the next read goes, and from where in it.
    current: Option<(usize, usize)>,
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

    /// JavaScript has run since the last read: a slab that it has seen slices of may have been taken away.
    pub(super) fn drop_detached(&mut self) {
        if let Some((number, _)) = self.current
            && self.slabs.get(number).and_then(Option::as_ref).is_some_and(Lent::is_detached)
        {
            self.retire(number);
        }
    }

    fn retire(&mut self, number: usize) {
        self.current = None;
        if let Some(slab) = self.slabs.get_mut(number).and_then(Option::take) {
            slab.give_back();
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
        // SAFETY: `drop_detached` has run since JavaScript last did, fresh slabs were never shown to anyone, and the
        // engine hands the slice to `recv` alone.
        Some(unsafe { slab.from(offset) })
    }

    fn commit(&mut self, length: usize) -> (u32, u32) {
        let Some((number, offset)) = self.current else { return (0, 0) };
        let end = offset + length;
        let size = self.slabs.get(number).and_then(Option::as_ref).map_or(0, Lent::len);
        if length >= LARGE || size - end.min(size) < LEAST_ROOM {
            self.retire(number);
        } else {
            self.current = Some((number, end));
        }
        (u32::try_from(number).unwrap_or(u32::MAX), u32::try_from(offset).unwrap_or(u32::MAX))
    }
}
