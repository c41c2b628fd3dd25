use super::*;
use proptest::prelude::*;

fn pool(limits: Limits) -> (Pool, OriginId) {
    let mut pool = Pool::new(limits);
    let origin = pool.add_origin();
    (pool, origin)
}

fn open(pool: &mut Pool, origin: OriginId) {
    assert_eq!(pool.checkout(origin), Checkout::Connect);
    pool.opened(origin);
}

#[test]
fn checkout_prefers_the_newest_idle_connection_under_lifo_and_the_oldest_under_fifo() {
    for (lifo, expected) in [(true, ConnectionId(2)), (false, ConnectionId(1))] {
        let (mut pool, origin) = pool(Limits { lifo, ..Limits::default() });
        open(&mut pool, origin);
        open(&mut pool, origin);
        assert_eq!(pool.release(origin, ConnectionId(1), Ok(())), Release::Kept);
        assert_eq!(pool.release(origin, ConnectionId(2), Ok(())), Release::Kept);
        assert_eq!(pool.checkout(origin), Checkout::Candidate(expected));
    }
}

#[test]
fn release_goes_to_the_first_waiter() {
    let (mut pool, origin) = pool(Limits { max_sockets: 1, ..Limits::default() });
    open(&mut pool, origin);
    let Checkout::Wait { waiter: first, .. } = pool.checkout(origin) else { panic!("one socket is leased") };
    let Checkout::Wait { waiter: second, .. } = pool.checkout(origin) else { panic!("one socket is leased") };
    assert_eq!(pool.release(origin, ConnectionId(0), Ok(())), Release::Handed(first));
    assert_eq!(pool.release(origin, ConnectionId(0), Ok(())), Release::Handed(second));
    assert_eq!(pool.release(origin, ConnectionId(0), Ok(())), Release::Kept);
}

#[test]
fn closed_connection_s_room_is_granted_to_the_longest_waiter_of_any_origin() {
    let (mut pool, one) = pool(Limits { max_total: 1, ..Limits::default() });
    let two = pool.add_origin();
    open(&mut pool, one);
    let Checkout::Wait { waiter, evict: None } = pool.checkout(two) else { panic!("the total is reached") };
    assert!(matches!(pool.checkout(one), Checkout::Wait { .. }));
    pool.closing_while_leased(one);
    assert_eq!(pool.grant(), None);
    pool.closed(one);
    assert_eq!(pool.grant(), Some((waiter, two)));
    assert_eq!(pool.grant(), None);
}

#[test]
fn idle_connection_of_another_origin_makes_room_when_the_total_is_reached() {
    let (mut pool, one) = pool(Limits { max_total: 1, ..Limits::default() });
    let two = pool.add_origin();
    open(&mut pool, one);
    assert_eq!(pool.release(one, ConnectionId(7), Ok(())), Release::Kept);
    let Checkout::Wait { evict, .. } = pool.checkout(two) else { panic!("the total is reached") };
    assert_eq!(evict, Some(ConnectionId(7)));
}

#[test]
fn queue_over_its_limit_refuses() {
    let (mut pool, origin) = pool(Limits { max_sockets: 1, queue_limit: 1, ..Limits::default() });
    open(&mut pool, origin);
    assert!(matches!(pool.checkout(origin), Checkout::Wait { .. }));
    assert_eq!(pool.checkout(origin), Checkout::QueueFull);
}

#[derive(Clone, Debug)]
enum Step {
    Checkout(usize),
    Release(usize, bool),
    Close(usize),
    Gone,
    Cancel(usize),
    Replace(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..3).prop_map(Step::Checkout),
        4 => (0usize..20, any::<bool>()).prop_map(|(at, keep)| Step::Release(at, keep)),
        2 => (0usize..20).prop_map(Step::Close),
        3 => Just(Step::Gone),
        1 => (0usize..20).prop_map(Step::Cancel),
        1 => (0usize..20).prop_map(Step::Replace),
    ]
}

/// What an embedder remembers of the pool's answers.
#[derive(Default)]
struct Model {
    leased: Vec<(OriginId, ConnectionId)>,
    idle: Vec<(OriginId, ConnectionId)>,
    closing: Vec<OriginId>,
    waiting: Vec<(OriginId, WaiterId)>,
    next: u32,
}

impl Model {
    fn lease(&mut self, pool: &mut Pool, origin: OriginId) {
        pool.opened(origin);
        self.next += 1;
        self.leased.push((origin, ConnectionId(self.next)));
    }

    fn close_idle(&mut self, pool: &mut Pool, connection: ConnectionId) {
        let at = self.idle.iter().position(|(_, id)| *id == connection).expect("idle in the model too");
        let (origin, _) = self.idle.remove(at);
        pool.closing_while_idle(origin, connection);
        self.closing.push(origin);
    }

    fn answered(&mut self, origin: OriginId, waiter: WaiterId) -> Result<(), TestCaseError> {
        let first = self.waiting.iter().position(|(o, _)| *o == origin).expect("somebody waits there");
        prop_assert_eq!(self.waiting.remove(first).1, waiter, "first come, first served");
        Ok(())
    }

    fn run(&mut self, pool: &mut Pool, origins: &[OriginId], step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Checkout(at) => match pool.checkout(origins[at]) {
                Checkout::Candidate(id) => {
                    pool.take(origins[at], id);
                    self.idle.retain(|(_, other)| *other != id);
                    self.leased.push((origins[at], id));
                }
                Checkout::Connect => self.lease(pool, origins[at]),
                Checkout::Wait { waiter, evict } => {
                    self.waiting.push((origins[at], waiter));
                    if let Some(id) = evict {
                        self.close_idle(pool, id);
                    }
                }
                Checkout::QueueFull => {}
            },
            Step::Release(at, keep) if at < self.leased.len() => {
                let (origin, id) = self.leased.remove(at);
                match pool.release(origin, id, if keep { Ok(()) } else { Err(CloseReason::Finished) }) {
                    Release::Handed(waiter) => {
                        self.answered(origin, waiter)?;
                        self.leased.push((origin, id));
                    }
                    Release::Kept => self.idle.push((origin, id)),
                    Release::Close(_) => self.closing.push(origin),
                }
            }
            Step::Close(at) if at < self.idle.len() => self.close_idle(pool, self.idle[at].1),
            Step::Gone => {
                if let Some(origin) = self.closing.pop() {
                    pool.closed(origin);
                }
                while let Some((waiter, origin)) = pool.grant() {
                    self.answered(origin, waiter)?;
                    self.lease(pool, origin);
                }
            }
            Step::Cancel(at) if at < self.waiting.len() => {
                let (origin, waiter) = self.waiting.remove(at);
                prop_assert!(pool.cancel(origin, waiter));
                prop_assert!(!pool.cancel(origin, waiter));
            }
            Step::Replace(at) if at < self.leased.len() => {
                let (origin, _) = self.leased.remove(at);
                pool.replace(origin);
                self.lease(pool, origin);
            }
            Step::Release(..) | Step::Close(_) | Step::Cancel(_) | Step::Replace(_) => {}
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn invariants_1_2_and_4_hold_under_every_interleaving(
        max_sockets in 1usize..4,
        max_total in 1usize..6,
        max_free in 0usize..3,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let limits = Limits { max_sockets, max_total, max_free, queue_limit: 10, lifo: true };
        let mut pool = Pool::new(limits);
        let origins: Vec<_> = (0..3).map(|_| pool.add_origin()).collect();
        let mut model = Model::default();
        for step in &steps {
            model.run(&mut pool, &origins, step)?;
            let total = pool.total();
            prop_assert!(total.add_up());
            prop_assert!(total.connecting + total.leased + total.idle <= max_total);
            prop_assert_eq!(total.leased, model.leased.len());
            prop_assert_eq!(total.idle, model.idle.len());
            prop_assert_eq!(total.closing, model.closing.len());
            for origin in &origins {
                let counts = pool.counts(*origin);
                prop_assert!(counts.add_up());
                prop_assert!(counts.connecting + counts.leased <= max_sockets);
                prop_assert!(counts.idle <= max_free);
                prop_assert_eq!(pool.waiting(*origin), model.waiting.iter().filter(|(o, _)| o == origin).count());
            }
        }
        // Everything ends: then nobody is left waiting and nothing is left.
        for _ in 0..1000 {
            let step = if model.leased.is_empty() { Step::Gone } else { Step::Release(0, false) };
            model.run(&mut pool, &origins, &step)?;
            if let Some((_, id)) = model.idle.first().copied() {
                model.close_idle(&mut pool, id);
            }
        }
        prop_assert_eq!(model.waiting.len(), 0);
        prop_assert_eq!(pool.total().all(), 0);
        for origin in origins {
            prop_assert!(pool.remove_origin(origin));
        }
    }
}
