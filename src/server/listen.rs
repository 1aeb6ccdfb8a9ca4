//! Listening sockets, and the addresses that reach them.

use crate::error::{Error, Result};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`. The standard library's 128 are
/// too few for a class that starts at once.
const BACKLOG: i32 = 4096;

/// Listens on `ip`, or without one on every address, IPv4 and IPv6. Port 0 lets the kernel choose.
///
/// The port can be bound again at once after the server ended.
///
/// # Errors
/// [`Error::Local`], one line with the cure.
pub fn bind(ip: Option<IpAddr>, port: u16) -> Result<Vec<TcpListener>> {
    let result = match ip {
        Some(ip) => listen(SocketAddr::new(ip, port), Stack::Single),
        None => listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), Stack::Dual).or_else(|error| {
            // A machine without IPv6.
            match Errno::from_io_error(&error) {
                Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
                    listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), Stack::Single)
                }
                _ => Err(error),
            }
        }),
    };
    let shown = ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    result.map(|listener| vec![listener]).map_err(|error| explain(shown, port, error))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stack {
    Single,
    Dual,
}

fn listen(address: SocketAddr, stack: Stack) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if stack == Stack::Dual {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn explain(ip: IpAddr, port: u16, error: io::Error) -> Error {
    let cure = match Errno::from_io_error(&error) {
        Some(Errno::ADDRINUSE) => {
            let other = port.checked_add(1).unwrap_or(9000);
            format!("in use: try --port {other}, or see who has it: ss -ltnp 'sport = :{port}'")
        }
        Some(Errno::ADDRNOTAVAIL) => {
            "not an address of this machine: see the addresses it has: ip -brief address".into()
        }
        Some(Errno::ACCESS) => "not permitted: ports below 1024 need privileges; try --port 9000".into(),
        _ => error.to_string(),
    };
    Error::local("listen on", format_args!("port {port} of {ip}"), io::Error::new(error.kind(), cure))
}

/// What the listeners are bound to: an unspecified address is every address, also each that this machine is given later.
#[must_use]
pub fn bound(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// The addresses that reach a listener, those that other machines can use first.
#[must_use]
pub fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = bound(listeners)
        .into_iter()
        .flat_map(|local| if local.ip().is_unspecified() { all_interfaces(local) } else { vec![local] })
        .collect();
    found.sort_by_key(|address| (address.ip().is_loopback(), address.is_ipv6()));
    found.dedup();
    found
}

fn all_interfaces(local: SocketAddr) -> Vec<SocketAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| ip.is_ipv4() || local.is_ipv6())
        // A link-local address works only together with the name of an interface.
        .filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
        .map(|ip| SocketAddr::new(ip, local.port()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn without_an_address_ipv4_and_ipv6_are_served() {
        let listeners = bind(None, 0).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if listeners[0].local_addr().unwrap().is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
        assert!(addresses(&listeners).iter().any(|address| address.ip() == Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn a_port_in_use_is_explained_with_its_cure() {
        let first = bind(Some(Ipv4Addr::LOCALHOST.into()), 0).unwrap();
        let port = first[0].local_addr().unwrap().port();
        let error = bind(Some(Ipv4Addr::LOCALHOST.into()), port).unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("--port"), "{error}");
        assert!(!error.contains('\n'));
    }
}
