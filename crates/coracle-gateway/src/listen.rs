//! The socket for users' requests.
//!
//! Theory of operation: the address is shared (`SO_REUSEPORT`), so that a new gateway accepts connections before the
//! old one stops. What Linux lets accepted sockets inherit (no delay of small segments, keep-alive probes that find
//! dead peers) is set once here and costs nothing per connection.

use std::net::SocketAddr;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 4096;
/// Silence after which the kernel asks whether a peer still lives.
const PROBE_AFTER: std::time::Duration = std::time::Duration::from_secs(60);

/// Listens on `addr`.
pub(crate) fn bind(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.set_nodelay(true)?;
    socket.set_keepalive(true)?;
    sockopt::set_tcp_keepidle(&socket, PROBE_AFTER)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}
