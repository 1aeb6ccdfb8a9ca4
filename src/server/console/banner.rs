//! What a server says when it starts: what it serves, how it is reached, where it logs.
//!
//! Owns the wording and the layout. Knows nothing of how the facts were found.

use super::qr::{self, Ink};
use crate::display::width::{flow, fold, width};
use crate::display::{Charset, Size, Terminal};
use std::net::SocketAddr;

/// Columns of the left half, where two facts stand side by side.
const HALF: usize = 44;
/// What a fact's name takes, with the space behind it.
const NAME: usize = 10;

/// The facts of the banner; all texts must be harmless.
#[derive(Debug, Clone, Copy)]
pub struct Banner<'a> {
    /// The program's version.
    pub version: &'a str,
    /// The host directory.
    pub directory: &'a str,
    /// What is in it.
    pub contents: &'a str,
    /// What uploads may do.
    pub policy: &'a str,
    /// The addresses that work, the best one for other machines first.
    pub addresses: &'a [SocketAddr],
    /// The fingerprint of the server's key, where TLS is spoken, and nothing else.
    pub fingerprint: Option<&'a str>,
    /// The directory of the logs.
    pub logs: &'a str,
    /// Who may do what; nothing if that is everything, and only this machine can.
    pub rights: Option<&'a str>,
}

impl Banner<'_> {
    pub(super) fn lines(&self, terminal: &Terminal) -> Vec<String> {
        let screen = Size::now();
        let charset = terminal.charset();
        // A log or a pipe has no edge.
        let columns = if terminal.stdout { usize::from(screen.columns) } else { usize::from(u16::MAX) };
        let mut lines = self.text(columns, charset);
        lines.extend(self.code(terminal, screen));
        lines
    }

    fn text(&self, columns: usize, charset: Charset) -> Vec<String> {
        let title = [
            format!("hostdir {}", self.version),
            format!("serving {} ({})", self.directory, self.contents),
            self.policy.to_owned(),
        ];
        let mut lines = fold(&title.join(charset.separator()), columns, charset);
        let facts = self.facts();
        for pair in facts.chunks(2) {
            lines.extend(side_by_side(pair, columns));
        }
        if let Some(fingerprint) = self.fingerprint {
            lines.push(format!(" {}", fact("TLS only:", &format!("its key is {fingerprint}"))));
        }
        if let Some(rights) = self.rights {
            let words: Vec<String> = rights.split(' ').map(str::to_owned).collect();
            lines.extend(flow(&words, " ", columns.saturating_sub(1), charset).iter().map(|line| format!(" {line}")));
        }
        lines
    }

    fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        if let Some(first) = self.addresses.first() {
            let key = self.fingerprint.map(|it| format!(" --tls --fingerprint {it}")).unwrap_or_default();
            facts.push(fact("Clients:", &format!("client{}{key}", client_flags(*first))));
            facts.push(fact("Browser:", &self.page(*first)));
        }
        let also: Vec<String> = self.addresses.iter().skip(1).map(SocketAddr::to_string).collect();
        if !also.is_empty() {
            facts.push(fact("Also:", &also.join(", ")));
        }
        facts.push(fact("Logs:", self.logs));
        facts
    }

    fn page(&self, address: SocketAddr) -> String {
        let scheme = if self.fingerprint.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}/")
    }

    /// One code, of the page at the best address; a telephone is another machine.
    fn code(&self, terminal: &Terminal, screen: Size) -> Vec<String> {
        let reachable = self.addresses.first().filter(|address| !address.ip().is_loopback());
        let drawable = terminal.stdout && !terminal.dumb && terminal.unicode;
        let Some(address) = reachable.filter(|_| drawable) else { return Vec::new() };
        let ink = if terminal.color_on_stdout { Ink::Colored } else { Ink::Plain };
        self.coded(*address).iter().find_map(|text| qr::lines(text, screen, ink)).unwrap_or_default()
    }

    /// What the code may say, the better first: it needs more room with the key's fingerprint, which is for whoever compares it
    /// with what the browser says of the certificate.
    fn coded(&self, address: SocketAddr) -> Vec<String> {
        let page = self.page(address);
        let with_key = self.fingerprint.map(|key| format!("{page}#key={key}"));
        with_key.into_iter().chain([page]).collect()
    }
}

fn fact(name: &str, value: &str) -> String {
    format!("{name:<NAME$}{value}")
}

/// On one line where that fits, else one below the other; a value too long for a line goes on below, behind its commas.
fn side_by_side(pair: &[String], columns: usize) -> Vec<String> {
    match pair {
        [one, other] if width(one) + 2 <= HALF && HALF + 1 + width(other) <= columns => {
            vec![format!(" {one:<HALF$}{other}")]
        }
        facts => facts.iter().flat_map(|fact| broken(fact, columns)).collect(),
    }
}

fn broken(fact: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in fact.split_inclusive(", ") {
        match lines.last_mut() {
            Some(line) if width(line) + width(part.trim_end()) <= columns => line.push_str(part),
            Some(_) => lines.push(format!(" {:NAME$}{part}", "")),
            None => lines.push(format!(" {part}")),
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// How a client is pointed at an address; what it assumes by itself is left out.
fn client_flags(address: SocketAddr) -> String {
    let is_assumed = address.ip().is_loopback() && address.is_ipv4();
    let ip = if is_assumed { String::new() } else { format!(" --ip {}", address.ip()) };
    let port = if address.port() == 9000 { String::new() } else { format!(" --port {}", address.port()) };
    ip + &port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<SocketAddr> {
        ["192.168.1.20:9000", "[fd00::2]:9000", "127.0.0.1:9000"].iter().map(|text| text.parse().unwrap()).collect()
    }

    fn banner(addresses: &[SocketAddr]) -> Banner<'_> {
        Banner {
            version: "1.0.0",
            directory: "./host_dir",
            contents: "1,284 files, 91.5 GiB",
            policy: "uploads add, never replace",
            addresses,
            fingerprint: None,
            logs: "./logs",
            rights: Some("Anyone on this network can read and add files: --read-only"),
        }
    }

    fn text(columns: usize, charset: Charset) -> Vec<String> {
        banner(&addresses()).text(columns, charset)
    }

    #[test]
    fn the_code_has_the_key_where_there_is_room_for_it() {
        let addresses = addresses();
        let plain = banner(&addresses);
        assert_eq!(plain.coded(addresses[0]), ["http://192.168.1.20:9000/"]);
        let secured = Banner { fingerprint: Some("sha256//abc="), ..plain };
        assert_eq!(
            secured.coded(addresses[0]),
            ["https://192.168.1.20:9000/#key=sha256//abc=", "https://192.168.1.20:9000/"]
        );
    }

    #[test]
    fn it_is_as_drawn_where_there_is_room() {
        assert_eq!(
            text(100, Charset::Unicode),
            [
                "hostdir 1.0.0 · serving ./host_dir (1,284 files, 91.5 GiB) · uploads add, never replace",
                " Clients:  client --ip 192.168.1.20          Browser:  http://192.168.1.20:9000/",
                " Also:     [fd00::2]:9000, 127.0.0.1:9000    Logs:     ./logs",
                " Anyone on this network can read and add files: --read-only",
            ]
        );
    }

    #[test]
    fn it_is_broken_between_facts_where_there_is_not() {
        assert_eq!(
            text(40, Charset::Ascii),
            [
                "hostdir 1.0.0",
                "serving ./host_dir (1,284 files, 91.5",
                "GiB) - uploads add, never replace",
                " Clients:  client --ip 192.168.1.20",
                " Browser:  http://192.168.1.20:9000/",
                " Also:     [fd00::2]:9000,",
                "           127.0.0.1:9000",
                " Logs:     ./logs",
                " Anyone on this network can read and add",
                " files: --read-only",
            ]
        );
    }
}
