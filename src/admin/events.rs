//! `GET /events`: the latest events, then each new one, as server-sent events.
//!
//! The feed looks at the ring every [`FEED_TICK`]: events are rare and for people, so nothing wakes it. A comment after
//! [`FEED_SILENCE`] finds readers that are gone. A reader that is slower than the ring sees a gap in the numbers.

use super::{Shared, locked};
use crate::control_plane::Event;
use crate::limits::{FEED_SILENCE, FEED_TICK};
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// A body that never ends.
struct Feed {
    control: Shared,
    /// Sequence of the last event sent.
    last: u64,
    tick: Interval,
    spoke: Instant,
}

/// The feed from the event after `last` on.
pub(super) fn feed(control: Shared, last: u64) -> Response {
    let mut tick = interval(FEED_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let body = Body::new(Feed { control, last, tick, spoke: Instant::now() });
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

impl Feed {
    /// What to say now, if anything.
    fn speak(&mut self) -> Option<String> {
        let events = locked(&self.control).recent_events();
        let newest = events.last().map_or(0, |event| event.sequence);
        if newest < self.last {
            // The reader remembers another process; everything here is new to it.
            self.last = 0;
        }
        let mut text = String::new();
        for event in events.iter().filter(|event| event.sequence > self.last) {
            write_event(&mut text, event);
        }
        self.last = newest;
        if text.is_empty() && self.spoke.elapsed() >= FEED_SILENCE {
            text.push_str(": still here\n\n");
        }
        (!text.is_empty()).then_some(text)
    }
}

fn write_event(text: &mut String, event: &Event) {
    // Plain texts and a number: neither the JSON nor the String can fail.
    let data = serde_json::to_string(event).unwrap_or_default();
    let _ = write!(text, "id: {}\ndata: {data}\n\n", event.sequence);
}

impl hyper::body::Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let feed = self.get_mut();
        while feed.tick.poll_tick(cx).is_ready() {
            if let Some(text) = feed.speak() {
                feed.spoke = Instant::now();
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))));
            }
        }
        Poll::Pending
    }
}
