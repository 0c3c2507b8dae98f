//! Which process listens on an address, as Linux tells it in `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};

use rustix::process::Pid;

/// Whether everything that keeps an address from being listened on is a socket of `process`.
/// Where that can't be found out, a process that runs is believed to have it.
pub(super) fn is_of(address: SocketAddr, process: Option<Pid>) -> bool {
    let Some(process) = process else { return false };
    let Some(own) = sockets_of(process) else { return true };
    let mut in_the_way = in_the_way(address).peekable();
    in_the_way.peek().is_some() && in_the_way.all(|inode| own.contains(&inode))
}

/// Whether something listens on an address, as far as that can be found out.
pub(super) fn is_taken(address: SocketAddr) -> bool {
    in_the_way(address).next().is_some()
}

/// The inodes of the sockets that keep an address from being listened on.
fn in_the_way(address: SocketAddr) -> impl Iterator<Item = u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| table.lines().filter_map(listener).collect::<Vec<_>>())
        .filter(move |(other, _)| collide(address, *other))
        .map(|(_, inode)| inode)
}

/// Whether two listeners can't be there at once. An IPv6 one may take IPv4 connections as well.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (any || one.ip().to_canonical() == other.ip().to_canonical())
}

/// The inodes of a process's sockets; `None` when it may not be looked at.
fn sockets_of(process: Pid) -> Option<BTreeSet<u64>> {
    let entries = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).ok()?;
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Some(links.filter_map(|link| inode(link.to_str()?)).collect())
}

fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A line of `/proc/net/tcp` (proc_net_tcp.rst of the kernel): a listener and its inode.
fn listener(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    // TCP_LISTEN.
    if *fields.get(3)? != "0A" {
        return None;
    }
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for word in ip.as_bytes().chunks(8) {
        // Each word is printed as a number of this machine.
        let word = u32::from_str_radix(core::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some((SocketAddr::new(ip, port), fields.get(9)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_listener_is_found_by_its_process() {
        let own = Some(rustix::process::getpid());
        let parent = rustix::process::getppid();
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            // A host may have no IPv6.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let address = listener.local_addr().unwrap();
            assert!(is_of(address, own) && is_taken(address), "{address}");
            assert!(!is_of(address, None), "{address}");
            if parent.and_then(sockets_of).is_some() {
                assert!(!is_of(address, parent), "{address}");
            }
        }
    }

    #[test]
    fn listeners_collide_by_port_and_address() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::1]:1", "127.0.0.1:1", false),
        ] {
            assert_eq!(collide(one.parse().unwrap(), other.parse().unwrap()), expected, "{one}");
        }
    }
}
