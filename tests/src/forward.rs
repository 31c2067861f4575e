//! Ports of pods, reached through `coracle forward`.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::command::Running;
use crate::platform::Platform;
use crate::wait::LONG;

/// A `coracle forward` that goes on.
#[derive(Debug)]
pub struct Forward {
    running: Running,
    port: u16,
}

impl Forward {
    /// Waits until it listens.
    ///
    /// # Panics
    /// When it does not, or was not started with `--output json`.
    pub async fn listening(mut running: Running) -> Self {
        let line = running.first_line().await;
        let told: Value = serde_json::from_str(line).expect("a line of JSON");
        let listen = told["forwards"][0]["listen"][0].as_str();
        let port = listen.and_then(|address| address.rsplit(':').next()?.parse().ok());
        Self {
            running,
            port: port.expect("an address to connect to"),
        }
    }

    /// Connects to its first port.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn connect(&self) -> TcpStream {
        let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await;
        connected.expect("it listens")
    }

    /// Does the other side send back what it is sent?
    pub async fn echoes(&self, bytes: &[u8]) -> bool {
        let mut stream = self.connect().await;
        exchange(&mut stream, bytes).await
    }

    /// Ends it as Ctrl-C does, and gives its exit status.
    pub async fn interrupt(self) -> Option<i32> {
        self.running.interrupt();
        self.running.ends().await
    }

    /// Waits for its end and gives its exit status.
    pub async fn ends(self) -> Option<i32> {
        self.running.ends().await
    }
}

/// Sends bytes and reads as many, both at once. Are they the same?
async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    let (mut from, mut to) = stream.split();
    let mut back = vec![0; bytes.len()];
    let both = async { tokio::join!(to.write_all(bytes), from.read_exact(&mut back)) };
    let Ok((sent, read)) = tokio::time::timeout(LONG, both).await else {
        return false;
    };
    sent.is_ok() && read.is_ok() && back == bytes
}

/// A token of a new user with this role.
///
/// # Panics
/// When it cannot be made.
pub async fn token_of(platform: &Platform, user: &str, role: &str) -> String {
    let api = platform.api().await;
    let password = "correct horse battery";
    let wish = json!({"metadata": {"name": user}, "spec": {"role": role, "password": password}});
    let made = api.post("/users", &wish).await;
    assert_eq!(made.status, 201, "{made:?}");
    let login = json!({"user": user, "password": password});
    let session = api.post("/session", &login).await.ok();
    session["token"].as_str().expect("a token").to_owned()
}
