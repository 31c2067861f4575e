//! Logs of containers, and how they come.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, TimeDelta};
use futures::StreamExt as _;
use futures::stream;

/// By the path of the log and the container.
pub(crate) type Logs = BTreeMap<(String, String), Log>;

/// What a container wrote: a line every 100 ms from the epoch on.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) lines: Vec<String>,
    pub(crate) followed: Followed,
}

/// How a log comes to who follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// All of it, and then nothing more, and no end.
    Open,
    /// So many lines and a half; then the connection breaks.
    Breaks(usize),
    /// So many lines; then nothing more, and no end.
    Dies(usize),
}

/// What is answered to a request for a log.
pub(crate) fn answer(logs: &Logs, path: &str, query: &str) -> Option<Response> {
    let of = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let at = (path.to_owned(), of("container")?.to_owned());
    let log = logs.get(&at)?;
    let since = of("sinceTime").unwrap_or_default().replace("%3A", ":");
    let since = DateTime::parse_from_rfc3339(&since).map_or(0, |at| at.timestamp());
    let written =
        |n: usize| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(100 * i64::try_from(n).unwrap());
    let lines = log.lines.iter().enumerate();
    let lines = lines.filter(|(n, _)| written(*n).timestamp() >= since);
    let lines: Vec<String> = lines
        .map(|(n, line)| format!("{} {line}\n", written(n).to_rfc3339()))
        .collect();
    if of("follow") != Some("true") {
        return Some(lines.concat().into_response());
    }
    let text = match log.followed {
        Followed::Open => lines.concat(),
        Followed::Dies(most) => lines.into_iter().take(most).collect(),
        Followed::Breaks(most) => {
            let mut text: String = lines.iter().take(most).map(String::as_str).collect();
            let half = lines.get(most).map(|line| &line[..line.len() / 2]);
            text.push_str(half.unwrap_or_default());
            text
        }
    };
    let text = stream::iter([Ok::<_, Infallible>(Bytes::from(text))]);
    Some(match log.followed {
        Followed::Breaks(_) => Body::from_stream(text).into_response(),
        Followed::Open | Followed::Dies(_) => {
            Body::from_stream(text.chain(stream::pending())).into_response()
        }
    })
}
