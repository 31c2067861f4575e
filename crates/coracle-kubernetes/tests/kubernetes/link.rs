//! A way to the API server that can be cut: a byte-for-byte relay on a port of this machine, and a kubeconfig that names it.

use std::path::PathBuf;
use std::sync::Arc;

use coracle_task::{CancellationToken, Supervisor};
use serde_json::{Value, json};
use std::sync::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// A way to the API server that can be cut.
pub(crate) struct Link {
    pub(crate) kubeconfig: PathBuf,
    address: std::net::SocketAddr,
    target: String,
    up: Arc<Mutex<Option<CancellationToken>>>,
    supervisor: Supervisor,
    _folder: tempfile::TempDir,
}

impl Link {
    /// A relay to where a kubeconfig in JSON leads. It is up.
    pub(crate) async fn new(config: &str) -> Self {
        let mut config: Value = serde_json::from_str(config).unwrap();
        let cluster = &mut config["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().unwrap().to_owned();
        let target = server
            .trim_start_matches("https://")
            .trim_end_matches('/')
            .to_owned();
        let host = target
            .rsplit_once(':')
            .map_or(target.as_str(), |(host, _)| host);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        cluster["tls-server-name"] = json!(host);
        cluster["server"] = json!(format!("https://{address}"));
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let link = Self {
            kubeconfig,
            address,
            target,
            up: Arc::new(Mutex::new(None)),
            supervisor: Supervisor::new("link"),
            _folder: folder,
        };
        link.serve(listener);
        link
    }

    fn serve(&self, listener: TcpListener) {
        let token = self.supervisor.token().child_token();
        *self.up.lock().unwrap() = Some(token.clone());
        let target = self.target.clone();
        let supervisor = self.supervisor.clone();
        self.supervisor.spawn("link", async move {
            let accept = async {
                while let Ok((mut from, _)) = listener.accept().await {
                    let (target, token) = (target.clone(), token.clone());
                    supervisor.spawn("relay", async move {
                        let relay = async {
                            if let Ok(mut to) = TcpStream::connect(&target).await {
                                drop(copy_bidirectional(&mut from, &mut to).await);
                            }
                        };
                        let _ended = token.run_until_cancelled(relay).await;
                    });
                }
            };
            let _ended = token.run_until_cancelled(accept).await;
        });
    }

    /// Ends all connections, and takes no new ones.
    pub(crate) async fn cut(&self) {
        let up = self.up.lock().unwrap().take();
        if let Some(up) = up {
            up.cancel();
        }
        // The port is free once the listener is dropped.
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Takes connections again.
    pub(crate) async fn mend(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.token().cancel();
    }
}
