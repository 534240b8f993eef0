//! Many statements sent before the first is answered: on a slow line they take one round trip together.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Waits for all of them, begun in their order; the first that failed, in that order, is the error of all.
pub(super) async fn all<T, E>(
    mut under_way: Vec<Pin<Box<impl Future<Output = Result<T, E>> + ?Sized>>>,
) -> Result<Vec<T>, E> {
    let mut ended: Vec<Option<Result<T, E>>> = under_way.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (one, end) in under_way.iter_mut().zip(&mut ended).filter(|(_, end)| end.is_none()) {
            if let Poll::Ready(answer) = one.as_mut().poll(context) {
                *end = Some(answer);
            }
        }
        if ended.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    ended.into_iter().flatten().collect()
}
