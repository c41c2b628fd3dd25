//! Events as JavaScript reads them: rows of four numbers in a typed array that it made, and delivers from by itself.

#![expect(unsafe_code, reason = "memory lent by JavaScript is a pointer")]

use super::bridge::Engine;
use super::js::Lent;
use crate::engine::environment::Event;

/// Numbers before the rows: the cursor, the count of rows, whether slabs are wanted.
pub(super) const HEADER: usize = 3;

/// Numbers in a row.
pub(super) const ROW: usize = 4;

const CURSOR: usize = 0;
const COUNT: usize = 1;
const WANTED: usize = 2;

/// The kinds of rows; `lib/environment.js` has the same list.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
enum Kind {
    Data = 1,
    End,
    ReadFailed,
    Written,
    WriteFailed,
    Found,
    Connected,
    ConnectFailed,
    ShutDown,
    Ended,
    Replaying,
    Gone,
    GaveUp,
    Swapped,
    Secured,
    Session,
    Head,
    Complete,
    Broken,
    Reset,
    Room,
    FellBack,
}

/// The shared table.
#[derive(Debug)]
pub(super) struct EventTable(Lent);

impl EventTable {
    pub(super) fn new(memory: Lent) -> Self {
        Self(memory)
    }

    /// How far JavaScript has come.
    pub(super) fn cursor(&mut self) -> i32 {
        // SAFETY: as in `fill`.
        let bytes = unsafe { self.0.from(0) };
        bytes.first_chunk().map_or(0, |number| i32::from_ne_bytes(*number))
    }

    /// Writes as many events as fit, and the cursor back to the start; answers how many, and how many deliveries that is: the
    /// parts of one answer are one. `wants_slabs` is asked afterwards:
    /// a slab must not be replaced before all that was read into it has been told.
    pub(super) fn fill(&mut self, engine: &mut Engine, wants_slabs: impl FnOnce() -> bool) -> (usize, usize) {
        let capacity = self.0.len() / size_of::<i32>();
        // SAFETY: `lib` never shows this buffer to anyone, so nobody detaches it; Rust runs here, not JavaScript.
        let bytes = unsafe { self.0.from(0) };
        let mut put = |at: usize, number: i32| {
            if let Some(place) = bytes.get_mut(at * 4..at * 4 + 4) {
                place.copy_from_slice(&number.to_ne_bytes());
            }
        };
        let (mut rows, mut deliveries) = (0, 0);
        while HEADER + (rows + 1) * ROW <= capacity {
            let Some(event) = engine.next_event() else { break };
            let at = HEADER + rows * ROW;
            let is_part =
                matches!(event, Event::Head { .. }) || matches!(event, Event::Data { id, .. } if engine.is_spoken(id));
            deliveries += usize::from(!is_part);
            for (column, number) in row(event).into_iter().enumerate() {
                put(at + column, number);
            }
            rows += 1;
        }
        put(CURSOR, 0);
        put(COUNT, i32::try_from(rows).unwrap_or(i32::MAX));
        put(WANTED, i32::from(!engine.has_events() && wants_slabs()));
        (rows, deliveries)
    }
}

fn row(event: Event) -> [i32; ROW] {
    let number = u32::cast_signed;
    match event {
        // Slabs are 64 KiB, so an offset needs 16 bits.
        Event::Data { id, slab, offset, length } => {
            [Kind::Data as i32, number(id.0), number(slab << 16 | offset), number(length)]
        }
        Event::End { id } => [Kind::End as i32, number(id.0), 0, 0],
        Event::ReadFailed { id, errno } => [Kind::ReadFailed as i32, number(id.0), errno, 0],
        Event::Written { id } => [Kind::Written as i32, number(id.0), 0, 0],
        Event::WriteFailed { id, errno } => [Kind::WriteFailed as i32, number(id.0), errno, 0],
        Event::Found { id } => [Kind::Found as i32, number(id.0), 0, 0],
        Event::Connected { id } => [Kind::Connected as i32, number(id.0), 0, 0],
        Event::ConnectFailed { id } => [Kind::ConnectFailed as i32, number(id.0), 0, 0],
        Event::ShutDown { id } => [Kind::ShutDown as i32, number(id.0), 0, 0],
        Event::Ended { id, reason } => [Kind::Ended as i32, number(id.0), reason as i32, 0],
        Event::Replaying { id, reason } => [Kind::Replaying as i32, number(id.0), reason as i32, 0],
        Event::Swapped { id } => [Kind::Swapped as i32, number(id.0), 0, 0],
        Event::FellBack { id } => [Kind::FellBack as i32, number(id.0), 0, 0],
        Event::Secured { id } => [Kind::Secured as i32, number(id.0), 0, 0],
        Event::Session { id } => [Kind::Session as i32, number(id.0), 0, 0],
        Event::Gone { id } => [Kind::Gone as i32, number(id.0), 0, 0],
        Event::Head { id, status, is_upgrade } => {
            [Kind::Head as i32, number(id.0), i32::from(status), i32::from(is_upgrade)]
        }
        Event::Complete { id, has_trailers, is_reusable } => {
            [Kind::Complete as i32, number(id.0), i32::from(has_trailers), i32::from(is_reusable)]
        }
        Event::Broken { id, breakage } => [Kind::Broken as i32, number(id.0), breakage as i32, 0],
        Event::Reset { id, code } => [Kind::Reset as i32, number(id.0), number(code), 0],
        Event::Room { agent } => [Kind::Room as i32, number(agent.0), 0, 0],
        #[expect(clippy::cast_possible_truncation, reason = "halves of a number")]
        Event::GaveUp { agent, waiter } => {
            [Kind::GaveUp as i32, number(agent.0), number(waiter.0 as u32), number((waiter.0 >> 32) as u32)]
        }
    }
}
