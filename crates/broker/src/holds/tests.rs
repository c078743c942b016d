//! Holds: one connection can't take all places.

use std::future::pending;

use super::Holds;
use crate::limits::HOLDS_PER_CLIENT_MAX;

#[tokio::test]
async fn a_connection_has_so_many_places_and_gets_them_back() {
    let holds = Holds::default();
    for _ in 1..HOLDS_PER_CLIENT_MAX {
        let place = holds.place(1).expect("room");
        holds.start(1, async move {
            let _place = place;
            pending::<()>().await;
        });
    }
    let place = holds.place(1).expect("room for the last one");
    let (done, ends) = tokio::sync::oneshot::channel::<()>();
    holds.start(1, async move {
        let _place = place;
        let _ = ends.await;
    });
    assert!(holds.place(1).is_none());
    assert!(holds.place(2).is_some(), "others have theirs");
    drop(done);
    while holds.count() == HOLDS_PER_CLIENT_MAX {
        tokio::task::yield_now().await;
    }
    assert!(holds.place(1).is_some());
}
