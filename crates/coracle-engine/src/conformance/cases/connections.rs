//! Cases: byte streams to ports of pods.

use std::io::ErrorKind;
use std::time::Duration;

use coracle_model::release::CommandLine;
use coracle_model::workload::{PodId, Workload};
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::conformance::bench::{Bench, Given as _};
use crate::engine::Support;
use crate::error::EngineError;
use crate::stream::Duplex;

/// What an echo sends back in one go: more than what the platform, the kernel and the network hold.
const LARGE: usize = 1 << 20;
/// At once.
const MANY: usize = 100;
/// More than the kernels on the way hold: each hop on this machine takes up to what its sockets may grow to.
const HELD: usize = 512 << 20;
/// More than an engine may hold, and its tests beside it.
const HERE: usize = 48 << 20;
/// Between two attempts to connect to a server that begins.
const RETRY: Duration = Duration::from_millis(100);
/// A writer that nothing was taken from for so long is held back.
const STUCK: Duration = Duration::from_secs(3);

/// Sends back what comes, for each connection until its end.
fn echo(t: &Bench) -> Workload {
    let mut echo = t.serving("echo", 1);
    let words = ["nc", "-ll", "-p", "8080", "-e", "cat"];
    echo.template.command = Some(CommandLine::Exec(words.map(str::to_owned).to_vec()));
    echo.template.health = None;
    // No probes: this server holds two connections that it has not taken yet, and resets a third.
    echo.template.port = None;
    echo
}

/// A connection that was answered, once the server listens.
async fn connect(t: &Bench, pod: &PodId) -> Box<dyn Duplex> {
    let greet = async {
        loop {
            if let Ok(mut stream) = t.engine().connect(pod, 8080).await
                && stream.write_all(b"?").await.is_ok()
                && stream.read_exact(&mut [0]).await.is_ok()
            {
                return stream;
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    within(t, "a connection that is answered", greet).await
}

async fn within<T>(t: &Bench, what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(t.world().patience(), work).await;
    done.given(what)
}

/// Memory of this process, in bytes; 0 where that is not told.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kilobytes.unwrap_or_default() * 1024
}

fn numbered(count: usize, seed: usize) -> Vec<u8> {
    let byte = |n: usize| u8::try_from((n * 7 + seed) % 251).unwrap_or_default();
    (0..count).map(byte).collect()
}

/// Writes all and reads all, both at once, the reader in small pieces.
async fn exchange(stream: Box<dyn Duplex>, sent: &[u8]) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(stream);
    let write = async {
        to.write_all(sent).await.given("write");
        to.flush().await.given("flush");
    };
    let read = async {
        let mut back = vec![0; sent.len()];
        for piece in back.chunks_mut(1000) {
            from.read_exact(piece).await.given("read");
        }
        back
    };
    let ((), back) = tokio::join!(write, read);
    back
}

/// More than any buffer, in both directions.
pub async fn bytes_go_both_ways(t: &Bench) {
    let pod = t.running(&t.serving("web", 1)).await.remove(0).id;
    let talk = async {
        let mut stream = t.engine().connect(&pod, 8080).await.given("connect");
        let body = "0123456789abcdef".repeat(16 * 1024);
        let head = format!(
            "POST /cgi-bin/echo HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(head.as_bytes())
            .await
            .given("write the head");
        stream
            .write_all(body.as_bytes())
            .await
            .given("write the body");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.given("read");
        (body, answer)
    };
    let within = t.world().patience();
    let (body, answer) = tokio::time::timeout(within, talk).await.given("an answer");
    assert!(
        answer.starts_with(b"HTTP/1."),
        "{:?}",
        &answer[..answer.len().min(80)]
    );
    assert!(
        answer.ends_with(body.as_bytes()),
        "{} bytes came",
        answer.len()
    );
}

/// A megabyte each way at the same time, as it was sent.
pub async fn bytes_go_both_ways_at_once(t: &Bench) {
    let pod = t.running(&echo(t)).await.remove(0).id;
    let sent = numbered(LARGE, 1);
    let stream = connect(t, &pod).await;
    let back = within(t, "the echo", exchange(stream, &sent)).await;
    assert!(back == sent, "something else came back");
}

/// Who does not read holds back who writes, and loses nothing by it.
pub async fn a_connections_writer_waits_for_its_reader(t: &Bench) {
    let pod = t.running(&echo(t)).await.remove(0).id;
    let (mut from, mut to) = tokio::io::split(connect(t, &pod).await);
    let piece = numbered(LARGE, 2);
    let before = resident();
    let mut sent = 0;
    // What it sends comes back and is not read: everything on the way fills up.
    loop {
        let at = sent % LARGE;
        match tokio::time::timeout(STUCK, to.write(&piece[at..])).await {
            Ok(count) => sent += count.given("write"),
            Err(_held_back) => break,
        }
        assert!(sent < HELD, "somebody gathers all of it");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < HERE, "{grown} bytes more are held here");
    let read = async {
        let mut back = vec![0; LARGE];
        let mut left = sent;
        while left > 0 {
            let at = (sent - left) % LARGE;
            let most = left.min(LARGE - at);
            let count = from.read(&mut back[..most]).await.given("read");
            assert!(count > 0, "it ended with {left} bytes to come");
            assert!(
                back[..count] == piece[at..at + count],
                "something else came back"
            );
            left -= count;
        }
    };
    within(t, "what was held back", async {
        tokio::join!(read, to.flush())
    })
    .await
    .1
    .given("flush");
}

/// To send no more ends one direction: what the pod answers comes whole, and then its end.
pub async fn a_connections_two_directions_end_apart(t: &Bench) {
    let pod = t.running(&echo(t)).await.remove(0).id;
    let mut stream = connect(t, &pod).await;
    let talk = async {
        let sent = numbered(30_000, 3);
        stream.write_all(&sent).await.given("write");
        stream.shutdown().await.given("shutdown");
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.given("read");
        assert!(back == sent, "{} bytes came", back.len());
    };
    within(t, "the end of the answer", talk).await;
    if t.engine().capabilities().connection_end == Support::No {
        return;
    }
    // The pod was told: the one command for this connection ended, and the next one is served.
    let back = exchange(connect(t, &pod).await, b"again").await;
    assert_eq!(back, b"again");
}

/// Where nobody listens, the caller hears of it: at once, or by the first read.
pub async fn connecting_to_a_closed_port_fails(t: &Bench) {
    let pod = t.running(&t.serving("web", 1)).await.remove(0).id;
    match t.engine().connect(&pod, 81).await {
        Err(EngineError::Unreachable { port: 81, .. }) => {}
        Err(error) => panic!("{error:?}"),
        Ok(mut stream) => {
            let read = within(t, "a refusal", stream.read(&mut [0; 16])).await;
            let kind = read.map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::ConnectionRefused));
        }
    }
}

/// A connection does not outlive its pod.
pub async fn a_connection_ends_with_its_pod(t: &Bench) {
    let echo = echo(t);
    let pod = t.running(&echo).await.remove(0).id;
    let mut stream = connect(t, &pod).await;
    stream.write_all(b"here").await.given("write");
    let mut back = [0; 4];
    within(t, "the echo", stream.read_exact(&mut back))
        .await
        .given("read");
    t.engine().remove(&echo.id).await.given("remove");
    t.gone(&echo.id).await;
    let ended = within(t, "the end", stream.read(&mut [0; 16])).await;
    assert!(!matches!(ended, Ok(1..)), "bytes from a pod that is gone");
}

/// A hundred at once, each with bytes of its own.
pub async fn many_connections_are_apart(t: &Bench) {
    let pod = t.running(&echo(t)).await.remove(0).id;
    let mut open = Vec::new();
    for seed in 0..MANY {
        open.push((seed, connect(t, &pod).await));
    }
    let one = async |(seed, stream): (usize, Box<dyn Duplex>)| {
        let sent = numbered(20_000, seed);
        let back = exchange(stream, &sent).await;
        assert!(back == sent, "connection {seed} got something else");
    };
    within(t, "all of them", join_all(open.into_iter().map(one))).await;
}
