//! Who is woken when there is room again.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Connections that ask for room and are counted when woken.
struct Waiter {
    own: Share,
    mid_frame: bool,
    woken: Arc<Woken>,
}

impl Waiter {
    fn new(outbound: usize, mid_frame: bool) -> Waiter {
        let own = Share {
            outbound,
            ..Share::default()
        };
        let woken = Arc::default();
        Waiter {
            own,
            mid_frame,
            woken,
        }
    }

    fn waits(&self, id: u64, budget: &Budget) -> bool {
        let waker = Waker::from(Arc::clone(&self.woken));
        let cx = Context::from_waker(&waker);
        budget
            .poll_room(id, self.own, self.mid_frame, &cx)
            .is_pending()
    }

    fn woken(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }
}

fn share(bytes: usize, outbound: usize) -> Share {
    Share {
        frames: 1,
        bytes,
        outbound,
        ..Share::default()
    }
}

#[test]
fn who_has_no_room_yet_sleeps_on() {
    let budget = Budget::new(
        Limits {
            bytes_max: 1000,
            outbound_bytes_total: 1 << 20,
            ..Limits::default()
        },
        1,
    );
    let (mut slow, mut busy) = (Share::default(), Share::default());
    budget.settle(&mut slow, share(0, 2 << 20));
    let much_to_send = Waiter::new(OUTBOUND_BYTES_SPARED, false);
    assert!(much_to_send.waits(1, &budget));
    assert!(!Waiter::new(0, false).waits(2, &budget));
    for bytes in 0..100 {
        budget.settle(&mut busy, share(bytes, 10));
    }
    assert_eq!(much_to_send.woken(), 0);
    budget.settle(&mut slow, share(0, 0));
    assert_eq!(much_to_send.woken(), 1);
}

#[test]
fn who_has_room_again_is_woken_before_the_others() {
    let budget = Budget::new(
        Limits {
            bytes_max: 1000,
            ..Limits::default()
        },
        1,
    );
    let mut busy = Share::default();
    budget.settle(&mut busy, share(2000, 0));
    let (inside, between) = (Waiter::new(0, true), Waiter::new(0, false));
    assert!(inside.waits(1, &budget) && between.waits(2, &budget));
    budget.settle(&mut busy, share(1500, 0));
    assert_eq!((inside.woken(), between.woken()), (1, 0));
    budget.settle(&mut busy, share(999, 0));
    assert_eq!((inside.woken(), between.woken()), (1, 1));
}
