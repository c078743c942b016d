//! Tests of the watermark: order, lost wake-ups, sealing, futures dropped early.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Wake;

use super::*;

struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counter() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count(AtomicU64::new(0)));
    (count.clone(), count.into())
}

#[test]
fn releases_a_prefix() {
    let watermark = Watermark::new(10);
    let (count, waker) = counter();
    let mut context = Context::from_waker(&waker);
    assert!(pin!(watermark.reached(10)).poll(&mut context).is_ready());
    let mut near = pin!(watermark.reached(11));
    let mut far = pin!(watermark.reached(20));
    assert!(near.as_mut().poll(&mut context).is_pending());
    assert!(far.as_mut().poll(&mut context).is_pending());
    watermark.raise(15);
    watermark.wake();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(near.as_mut().poll(&mut context).is_ready());
    assert!(far.as_mut().poll(&mut context).is_pending());
    watermark.raise(12);
    assert_eq!(watermark.at(), 15, "it never goes back");
    watermark.raise(20);
    watermark.wake();
    assert!(far.as_mut().poll(&mut context).is_ready());
    assert_eq!(watermark.waiting.load(Ordering::SeqCst), 0);
}

#[test]
fn polling_again_replaces_the_waker() {
    let watermark = Watermark::new(0);
    let (first, first_waker) = counter();
    let (second, second_waker) = counter();
    let mut future = pin!(watermark.reached(1));
    for waker in [&first_waker, &second_waker] {
        let mut context = Context::from_waker(waker);
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    watermark.raise(1);
    watermark.wake();
    assert_eq!(first.0.load(Ordering::SeqCst), 0);
    assert_eq!(second.0.load(Ordering::SeqCst), 1);
}

#[test]
fn sealing_ends_every_wait_but_not_what_was_reached() {
    let watermark = Watermark::new(5);
    let (count, waker) = counter();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(watermark.reached(6));
    assert!(future.as_mut().poll(&mut context).is_pending());
    watermark.seal();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(future.poll(&mut context), Poll::Ready(Err(Sealed)));
    assert_eq!(
        pin!(watermark.reached(9)).poll(&mut context),
        Poll::Ready(Err(Sealed))
    );
    assert_eq!(
        pin!(watermark.reached(5)).poll(&mut context),
        Poll::Ready(Ok(()))
    );
}

#[test]
fn a_dropped_future_leaves_no_trace() {
    let watermark = Watermark::new(0);
    let (count, waker) = counter();
    let mut context = Context::from_waker(&waker);
    {
        let mut future = pin!(watermark.reached(1));
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(watermark.waiting.load(Ordering::SeqCst), 0);
    watermark.raise(1);
    watermark.wake();
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
}

#[test]
fn no_wake_up_is_lost_between_threads() {
    let watermark = Arc::new(Watermark::new(0));
    let raiser = watermark.clone();
    let thread = std::thread::spawn(move || {
        for at in 1..=20_000 {
            raiser.raise(at);
            raiser.wake();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for at in 1..=20_000 {
            watermark.reached(at).await.unwrap();
        }
    });
    thread.join().unwrap();
}

/// Who sends one message at a time does not wait until all those are answered who send hundreds.
#[test]
fn wakes_those_first_for_whom_little_is_to_be_done() {
    struct Noted(i64, Arc<Mutex<Vec<i64>>>);
    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.1.lock().push(self.0);
        }
    }
    let watermark = Watermark::default();
    let woken = Arc::new(Mutex::new(Vec::new()));
    let mut waiting: Vec<_> = [(10, 50), (20, 1), (30, 9), (40, 1), (50, 1)]
        .into_iter()
        .map(|(target, work)| {
            let waker = Waker::from(Arc::new(Noted(target, woken.clone())));
            let mut reached = Box::pin(watermark.reached_for(target, work));
            let polled = reached.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            reached
        })
        .collect();
    watermark.raise(40);
    watermark.wake();
    assert_eq!(*woken.lock(), [20, 40, 30, 10]);
    waiting.truncate(4);
    watermark.raise(50);
    watermark.wake();
    assert_eq!(woken.lock().len(), 4, "the last one has left");
}
