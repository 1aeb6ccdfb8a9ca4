//! Finding a server on the local network without knowing its address: multicast DNS (RFC 6762) and DNS-SD (RFC 6763).
//!
//! Owns the name of the service, the announcement, and the search. Nobody depends on it: a network without multicast is one
//! on which addresses are typed. Who answers a search may be anybody; what they say is made harmless here, and is no more
//! than an address to try.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::escape::harmless;
use mdns_sd::{IfKind, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The service, in the local domain.
const SERVICE: &str = "_hostdir._tcp.local.";
/// A label of the domain name system has at most so many bytes (RFC 1035, section 2.3.4).
const LABEL: usize = 63;
/// Servers beyond this number are not shown: nobody picks from more, and somebody may make them up.
const MOST: usize = 64;

/// A server that answers on the network, until this is dropped.
pub struct Announcement {
    daemon: ServiceDaemon,
}

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it calls itself, harmless.
    pub name: String,
    /// Where it says that it is.
    pub address: SocketAddr,
}

impl Announcement {
    /// Answers searches for as long as it lives. `bound` is what the server listens on: an unspecified address is each that
    /// this machine has or is given later; on those of this machine alone nothing is announced, and there is nothing to keep.
    ///
    /// # Errors
    /// If the sockets that it takes cannot be had.
    pub fn start(name: &str, bound: &[SocketAddr]) -> io::Result<Option<Self>> {
        let mut reachable: Vec<IpAddr> = bound.iter().map(SocketAddr::ip).filter(|ip| !ip.is_loopback()).collect();
        let Some(port) = bound.first().map(SocketAddr::port).filter(|_| !reachable.is_empty()) else {
            return Ok(None);
        };
        let everywhere = reachable.iter().copied().filter(IpAddr::is_unspecified).max();
        reachable.retain(|ip| !ip.is_unspecified());
        let daemon = daemon()?;
        let label = label(name);
        let host = format!("{}.local.", host_label(&label));
        let mut info =
            ServiceInfo::new(SERVICE, &label, &host, &reachable[..], port, &[("v", "1")][..]).map_err(failed)?;
        if let Some(everywhere) = everywhere {
            info = info.enable_addr_auto();
            if everywhere.is_ipv4() {
                info.set_interfaces(vec![IfKind::IPv4]);
            }
        }
        daemon.register(info).map_err(failed)?;
        Ok(Some(Self { daemon }))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // It says goodbye, so that nobody is offered a server that is gone. Whether that was heard does not matter.
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = ended.recv_timeout(Duration::from_millis(300));
        }
    }
}

impl std::fmt::Debug for Announcement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Announcement").finish_non_exhaustive()
    }
}

/// Asks the network for servers, and waits `patience` for answers; less, if `is_enough` says so of those that are known.
///
/// # Errors
/// If the sockets that it takes cannot be had.
pub fn search(patience: Duration, is_enough: &dyn Fn(usize) -> bool) -> io::Result<Vec<Found>> {
    let daemon = daemon()?;
    let answers = daemon.browse(SERVICE).map_err(failed)?;
    let until = Instant::now().checked_add(patience);
    // By full name: a server that answers twice is one.
    let mut found = BTreeMap::new();
    while let Some(left) = until.and_then(|until| until.checked_duration_since(Instant::now())) {
        if is_enough(found.len()) {
            break;
        }
        match answers.recv_timeout(left.min(Duration::from_millis(100))) {
            Ok(ServiceEvent::ServiceResolved(service)) if found.len() < MOST => {
                found.extend(read(&service).map(|server| (service.fullname.clone(), server)));
            }
            Ok(ServiceEvent::ServiceRemoved(_, name)) => drop(found.remove(&name)),
            Ok(_) => {}
            Err(_) if answers.is_disconnected() => break,
            Err(_) => {}
        }
    }
    // Nobody waits for its end: nothing was announced.
    let _ = daemon.shutdown();
    Ok(found.into_values().collect())
}

/// On every interface but those of this machine alone.
fn daemon() -> io::Result<ServiceDaemon> {
    let daemon = ServiceDaemon::new().map_err(failed)?;
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6]).map_err(failed)?;
    Ok(daemon)
}

fn read(service: &ResolvedService) -> Option<Found> {
    let addresses: Vec<IpAddr> = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect();
    let ip = best(&addresses)?;
    let suffix = format!(".{SERVICE}");
    let name = service.fullname.strip_suffix(&suffix).unwrap_or(&service.fullname);
    let name: String = name.replace('\\', "").chars().take(LABEL).collect();
    Some(Found { name: harmless(name.as_bytes()), address: SocketAddr::new(ip, service.port) })
}

/// The address to try: IPv4 first, which people recognise. A link-local address of IPv6 works only together with the name of
/// an interface, and an address of this machine is not where that server is.
fn best(addresses: &[IpAddr]) -> Option<IpAddr> {
    let mut usable: Vec<IpAddr> = addresses
        .iter()
        .copied()
        .filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast())
        .collect();
    usable.sort_by_key(|ip| (ip.is_ipv6(), *ip));
    usable.first().copied()
}

/// A name that fits into a label, cut between characters.
fn label(name: &str) -> String {
    let mut label = String::new();
    for character in name.chars().filter(|character| !character.is_control()) {
        if label.len().saturating_add(character.len_utf8()) > LABEL {
            break;
        }
        label.push(character);
    }
    if label.is_empty() { "hostdir".into() } else { label }
}

/// The same as the name of a host: letters, digits and hyphens. Its own ending keeps it apart from the machine's own name,
/// which another program may answer for.
fn host_label(label: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    let host: String = label.chars().take(LABEL.saturating_sub("-hostdir".len())).map(plain).collect();
    format!("{host}-hostdir")
}

fn failed(error: mdns_sd::Error) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_this_machine_alone_nothing_is_announced() {
        let loopback = ["127.0.0.1:9000".parse().unwrap(), "[::1]:9000".parse().unwrap()];
        assert!(Announcement::start("nas", &loopback).unwrap().is_none());
    }

    #[test]
    fn the_address_to_try_is_one_that_can_work() {
        let ips = |texts: &[&str]| best(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(ips(&["fe80::1", "fd00::2", "192.168.1.20", "127.0.0.1"]), "192.168.1.20".parse().ok());
        assert_eq!(ips(&["fe80::1", "fd00::2"]), "fd00::2".parse().ok());
        assert_eq!(ips(&["fe80::1", "127.0.0.1", "0.0.0.0", "224.0.0.251"]), None);
    }

    #[test]
    fn any_name_becomes_a_label() {
        assert_eq!(label(&"ñ".repeat(60)).len(), 62);
        assert_eq!(label("\u{1b}\n"), "hostdir");
        assert_eq!(host_label("el ñas.de.casa"), "el--as-de-casa-hostdir");
        assert!(host_label(&"x".repeat(63)).len() <= LABEL);
    }
}
