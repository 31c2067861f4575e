//! A client that writes what it is told, byte by byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::soon;

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A client that writes bytes as it is told, for what a library refuses to send.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) async fn to(addr: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(addr))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        self.answer().await
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        soon("the request's sending", self.stream.write_all(bytes))
            .await
            .unwrap();
    }

    /// One read; false at the end.
    async fn more(&mut self) -> bool {
        let read = soon("an answer", self.stream.read_buf(&mut self.unread))
            .await
            .unwrap_or(0);
        read > 0
    }

    /// Bytes up to and with `mark`.
    pub(crate) async fn until(&mut self, mark: &str) -> String {
        let mark = mark.as_bytes();
        loop {
            if let Some(at) = self.unread.windows(mark.len()).position(|w| w == mark) {
                let rest = self.unread.split_off(at + mark.len());
                return String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap();
            }
            let so_far = String::from_utf8_lossy(&self.unread).into_owned();
            assert!(self.more().await, "ended before {mark:?}: {so_far:?}");
        }
    }

    /// Everything up to the connection's end.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(std::mem::take(&mut self.unread)).unwrap()
    }

    async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.more().await, "the body ended early");
        }
        let rest = self.unread.split_off(count);
        std::mem::replace(&mut self.unread, rest)
    }

    /// The head of an answer; 1xx ones are returned too.
    pub(crate) async fn head(&mut self) -> Answer {
        let text = self.until("\r\n\r\n").await;
        let mut lines = text.trim_end().split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines
            .map(|l| l.split_once(": ").unwrap())
            .map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()))
            .collect();
        Answer {
            status,
            headers,
            body: String::new(),
        }
    }

    /// A whole answer to a request that is not HEAD.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let body = if let Some(length) = answer.headers.get("content-length") {
            self.exactly(length.parse().unwrap()).await
        } else if answer.header("transfer-encoding") == "chunked" {
            self.chunks().await
        } else if answer.status == 204 || answer.status == 304 {
            Vec::new()
        } else {
            self.rest().await.into_bytes()
        };
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    pub(crate) async fn chunk(&mut self) -> Vec<u8> {
        let size = self.until("\r\n").await;
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let data = self.exactly(size).await;
        assert_eq!(self.exactly(2).await, b"\r\n");
        data
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let chunk = self.chunk().await;
            if chunk.is_empty() {
                return all;
            }
            all.extend(chunk);
        }
    }
}
