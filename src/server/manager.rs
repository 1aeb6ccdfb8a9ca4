//! Tells the service manager that started this process how far it is: ready, opening its logs anew, stopping.
//!
//! The protocol is a datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names, see sd_notify(3). Whoever was
//! not started by such a manager has no such variable, and nothing happens here.

use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// How long a manager that takes nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The service manager, if there is one.
#[derive(Debug, Clone)]
pub struct ServiceManager {
    /// Why a manager that is there cannot be told.
    socket: Result<Option<Arc<UnixDatagram>>, String>,
}

impl ServiceManager {
    /// Connects to the manager that the environment names. To be called before [`super::Confinement::raise`], after which
    /// sockets without a file cannot be reached any more.
    #[must_use]
    pub fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()).map(|name| connect(&name));
        Self { socket: socket.transpose().map_err(|error| error.to_string()) }
    }

    /// Connections are accepted; or the logs are open again.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The logs are being opened anew; [`Self::ready`] follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// No new connection is served, running transfers are waited for.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Waiting for running transfers");
    }

    fn tell(&self, state: &str) {
        let told = match &self.socket {
            Ok(None) => return,
            Ok(Some(socket)) => socket.send(state.as_bytes()).map(drop).map_err(|error| error.to_string()),
            Err(why) => Err(why.clone()),
        };
        if let Err(cause) = told {
            log::warn!(event = "service-manager", cause; "it could not be told: {}", state.replace('\n', " "));
        }
    }
}

/// A name that begins with `@` is one without a file.
fn connect(name: &OsStr) -> io::Result<Arc<UnixDatagram>> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(Arc::new(socket))
}
