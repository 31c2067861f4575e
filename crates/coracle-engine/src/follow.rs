//! One watcher's stream of what an engine tells (law 4).
//!
//! Theory of operation: an engine tells all its watchers through one bounded broadcast. A watcher begins with everything
//! that exists and a place in the broadcast behind it, both taken under the lock of the engine's state, so that nothing
//! falls between them. One that was overtaken begins so again, after [`EngineEvent::Reset`].

use std::collections::VecDeque;

use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::engine::EngineEvent;

/// What a watcher begins with.
#[derive(Debug)]
pub struct Beginning {
    /// Everything that exists, and [`EngineEvent::Synced`] if that is all.
    pub all: VecDeque<EngineEvent>,
    /// What is told from then on.
    pub then: broadcast::Receiver<EngineEvent>,
}

/// Follows an engine. `begin` is asked at once and whenever the watcher was overtaken; the stream ends when it gives
/// nothing or nobody can tell anything any more.
pub fn follow(
    begin: impl Fn() -> Option<Beginning> + Send + 'static,
) -> BoxStream<'static, EngineEvent> {
    let first = begin();
    stream::unfold((begin, first), |(begin, mut watcher)| async move {
        loop {
            let Beginning { all, then } = watcher.as_mut()?;
            if let Some(event) = all.pop_front() {
                return Some((event, (begin, watcher)));
            }
            match then.recv().await {
                Ok(event) => return Some((event, (begin, watcher))),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => {
                    watcher = begin();
                    watcher.as_mut()?.all.push_front(EngineEvent::Reset);
                }
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_overtaken_begins_again() {
        let (events, _) = broadcast::channel(2);
        let gone = |name: &str| EngineEvent::NodeGone(name.to_owned());
        let sender = events.clone();
        let mut watcher = follow(move || {
            Some(Beginning {
                all: VecDeque::from([gone("first"), EngineEvent::Synced]),
                then: sender.subscribe(),
            })
        });
        assert_eq!(watcher.next().await, Some(gone("first")));
        assert_eq!(watcher.next().await, Some(EngineEvent::Synced));
        events.send(gone("a")).unwrap();
        assert_eq!(watcher.next().await, Some(gone("a")));
        for name in ["b", "c", "d"] {
            events.send(gone(name)).unwrap();
        }
        assert_eq!(watcher.next().await, Some(EngineEvent::Reset));
        assert_eq!(watcher.next().await, Some(gone("first")));
        assert_eq!(watcher.next().await, Some(EngineEvent::Synced));
        events.send(gone("e")).unwrap();
        assert_eq!(watcher.next().await, Some(gone("e")));
    }

    #[tokio::test]
    async fn it_ends_with_the_engine() {
        let (events, then) = broadcast::channel(2);
        let then = std::sync::Mutex::new(Some(then));
        let mut watcher = follow(move || {
            let then = then.lock().unwrap().take()?;
            let all = VecDeque::new();
            Some(Beginning { all, then })
        });
        drop(events);
        assert_eq!(watcher.next().await, None);
        assert_eq!(follow(|| None).next().await, None);
    }
}
