//! The address this broker tells the world: brokerIP1, or else what this machine is called by others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use store::disk::Disk;

#[cfg(test)]
mod tests;

/// An advertised address, as text for nameservers and clients and as the number that every stored message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// `host:port`.
    pub(crate) text: String,
    /// The host's address.
    pub(crate) socket: SocketAddr,
}

/// An advertised address that no client could use.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It has no address.
    #[error(
        "brokerIP1={host}: neither an IP address nor a name that can be resolved ({cause}); clients connect to this address"
    )]
    Unknown {
        /// The configured value.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// An address that stands for any or many machines.
    #[error(
        "brokerIP1={0}: clients can't connect to this address; give one of this machine's addresses, \
         or leave the key out to use the first one that is not loopback"
    )]
    NotOne(IpAddr),
}

/// Checks brokerIP1 if there is one, else chooses an address of this machine.
pub(crate) async fn advertised(
    configured: Option<&str>,
    port: u16,
) -> Result<Advertised, AddressError> {
    let Some(host) = configured else {
        let socket = SocketAddr::new(of_this_machine(), port);
        return Ok(Advertised {
            text: socket.to_string(),
            socket,
        });
    };
    let ip = match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(ip) => ip,
        Err(_) => resolve(host).await?,
    };
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(AddressError::NotOne(ip));
    }
    let socket = SocketAddr::new(ip, port);
    let text = if host.parse::<IpAddr>().is_ok() {
        socket.to_string()
    } else {
        format!("{host}:{port}")
    };
    Ok(Advertised { text, socket })
}

async fn resolve(host: &str) -> Result<IpAddr, AddressError> {
    let unknown = |cause: String| AddressError::Unknown {
        host: host.to_owned(),
        cause,
    };
    let found = remoting::net::resolve(&format!("{host}:0"))
        .await
        .map_err(|error| unknown(error.to_string()))?;
    let preferred = found
        .iter()
        .find(|address| address.is_ipv4())
        .or(found.first());
    preferred
        .map(SocketAddr::ip)
        .ok_or_else(|| unknown("the name has no address".to_owned()))
}

/// What is wrong with an address that is usable, but not by everybody.
pub(crate) fn doubt(advertised: &Advertised, nameservers: &[String]) -> Option<String> {
    let remote = nameservers
        .iter()
        .find(|address| !names_this_machine(address))?;
    advertised.socket.ip().is_loopback().then(|| {
        format!(
            "clients on other machines can't reach this broker: it advertises {}, a loopback address, while the nameserver {remote} \
             seems to be elsewhere; set brokerIP1 to an address of this machine that they can reach",
            advertised.text
        )
    })
}

/// Whether `host:port` is plainly this machine. A name other than localhost counts as another one.
fn names_this_machine(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

fn of_this_machine() -> IpAddr {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "can't list this machine's addresses; set brokerIP1");
        Vec::new()
    });
    let usable = interfaces
        .iter()
        .filter(|interface| !interface.is_p2p() && !is_bridge(&interface.name));
    choose(usable.map(|interface| interface.ip()))
}

fn is_bridge(interface: &str) -> bool {
    Disk::Os.exists(&Path::new("/sys/class/net").join(interface).join("bridge"))
}

/// As Apache: IPv4 before IPv6, an address that is routed everywhere before a private one, loopback if there is nothing else.
fn choose(addresses: impl Iterator<Item = IpAddr>) -> IpAddr {
    let outside: Vec<IpAddr> = addresses
        .filter(|ip| !ip.is_loopback() && !is_link_local(ip))
        .collect();
    let routed = |ip: &&IpAddr| matches!(ip, IpAddr::V4(ip) if !ip.is_private());
    let chosen = outside
        .iter()
        .find(routed)
        .or_else(|| outside.iter().find(|ip| ip.is_ipv4()))
        .or(outside.first());
    chosen.copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
