//! `palabre ruffle`: what to paste into a page so that old movies reach the server.
//!
//! Ruffle can't open TCP. Its configuration names a WebSocket for each host and port that a
//! movie may ask for, and this server takes WebSocket on the port it has.

use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;
use std::path::PathBuf;
#[cfg(feature = "tls")]
use std::time::SystemTime;

use argh::FromArgs;

use super::{Exit, Failure, complain, say};
use crate::config::{self, Arguments, Authority, Config, KnownHost, Misfit, is_authority, is_own};
#[cfg(feature = "tls")]
use crate::net::certificate;

/// print what to paste into a page so that old Flash movies work in it, by Ruffle
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "ruffle",
    help_triggers("-h", "--help", "help"),
    note = "Without --url the server is where the movie looks for it: ws://HOST:PORT/, or wss://
when the configuration has a certificate.",
    example = "For a movie that asks for chat.example.org, in a page that is served by https:
  $ palabre ruffle --host chat.example.org --url wss://chat.example.org:2468/"
)]
pub(super) struct Ruffle {
    /// the configuration file
    #[argh(option, arg_name = "file")]
    pub(super) config: Option<PathBuf>,
    /// the host that the movie asks for, as it spells it; may be repeated (default: 127.0.0.1
    /// and localhost)
    #[argh(option, arg_name = "host")]
    host: Vec<MovieHost>,
    /// the port that the movie asks for (default: the configured one)
    #[argh(option, arg_name = "port")]
    port: Option<MoviePort>,
    /// where a browser finds the server, ws://HOST:PORT/ or wss://HOST:PORT/
    #[argh(option, arg_name = "url")]
    url: Option<SocketUrl>,
}

/// Stands before the entries.
const BEFORE: &str = r#"<!-- For old Flash movies: paste this into the page, above the movie.
     host, port: what the movie gives to XMLSocket.connect, letter by letter.
     proxyUrl: where a visitor's browser finds the palabre server; in a page that is served by
     https it has to begin with wss. The server's configuration has to name that host in [web]
     hosts, unless it is an address or stands in the certificate, and the page's in [web] origins
     when that is another one.
     ruffle/ruffle.js: where Ruffle (https://ruffle.rs) lies on your site. -->
<script>
window.RufflePlayer = window.RufflePlayer || {};
window.RufflePlayer.config = {
  ...window.RufflePlayer.config,
  socketProxy: [
"#;

/// Stands behind them.
const BEHIND: &str = r#"  ],
};
</script>
<script src="ruffle/ruffle.js"></script>"#;

/// Prints the block.
///
/// # Errors
/// When the configuration has errors, or its port is none that a movie can ask for.
pub(super) fn ruffle(arguments: &Arguments, wanted: Ruffle) -> Result<Exit, Failure> {
    let config = config::load(arguments)?;
    let wanted_port = wanted.port.map(|port| port.0);
    let Some(port) = wanted_port.or_else(|| configured_port(&config)) else {
        let text = "the configured port is 0, a free one: needs --port with the movie's own";
        return Err(Failure::new(Exit::Usage, text));
    };
    let hosts = if wanted.host.is_empty() {
        vec!["127.0.0.1".to_owned(), "localhost".to_owned()]
    } else {
        wanted.host.into_iter().map(|host| host.0).collect()
    };
    let scheme = if config.web.tls.is_some() { "wss" } else { "ws" };
    let mut block = BEFORE.to_owned();
    let mut urls: Vec<String> = Vec::new();
    for host in hosts {
        let url = wanted.url.as_ref().map(|url| url.0.clone());
        let url = url.unwrap_or_else(|| match host.parse::<Ipv6Addr>() {
            Ok(address) => format!("{scheme}://[{address}]:{port}/"),
            Err(_) => format!("{scheme}://{host}:{port}/"),
        });
        // Neither can hold what would have to be escaped.
        block += &format!("    {{ host: \"{host}\", port: {port}, proxyUrl: \"{url}\" }},\n");
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    say(block + BEHIND);
    warn(&config, &urls);
    Ok(Exit::Success)
}

fn configured_port(config: &Config) -> Option<u16> {
    config.listen.iter().map(|listen| listen.address.port()).find(|port| *port != 0)
}

/// Says what in the configuration keeps movies out.
fn warn(config: &Config, urls: &[String]) {
    if !config.web.websocket {
        complain("warning: [web] websocket = false: movies can't connect to this server");
    }
    if config.web.tls.as_ref().is_some_and(|tls| tls.required)
        && urls.iter().any(|url| url.starts_with("ws:"))
    {
        complain("warning: [tls] required = true: this server takes wss://, and no ws://");
    }
    // Without a file nobody knows by which the server runs.
    let asked = urls.iter().filter_map(|url| asked_host(url)).filter(|_| config.source.is_some());
    let unknown: Vec<String> = asked
        .filter(|asked| !is_known(config, asked))
        .map(|asked| asked.host.to_string())
        .collect();
    if !unknown.is_empty() {
        let listed = config.web.hosts.iter().map(KnownHost::to_string).chain(unknown);
        complain(format_args!(
            "warning: browsers are refused that ask for this host; write under [web]: hosts = {}",
            listed.collect::<Vec<_>>().join(" ")
        ));
    }
}

/// The host of a URL.
fn asked_host(url: &str) -> Option<Authority> {
    let (_, rest) = url.split_once("://")?;
    Authority::parse(rest.split(['/', '?']).next()?)
}

/// Whether the server takes requests for it.
fn is_known(config: &Config, asked: &Authority) -> bool {
    let addresses: Vec<IpAddr> = config.listen.iter().map(|listen| listen.address.ip()).collect();
    // What a certificate says that this user may not read is the server's to know.
    certificate_hosts(config).is_none_or(|of_certificate| {
        is_own(asked, &addresses, config.web.hosts.iter().chain(&of_certificate))
    })
}

/// The hosts that the certificate names, if there is one; nothing when it can't be read.
#[cfg(feature = "tls")]
fn certificate_hosts(config: &Config) -> Option<Vec<KnownHost>> {
    let Some(files) = &config.web.tls else { return Some(Vec::new()) };
    Some(certificate::load(files, &[], SystemTime::now()).ok()?.hosts)
}

#[cfg(not(feature = "tls"))]
fn certificate_hosts(_: &Config) -> Option<Vec<KnownHost>> {
    Some(Vec::new())
}

/// `--host`: a host as the movie spells it.
struct MovieHost(String);

impl FromStr for MovieHost {
    type Err = Misfit;

    fn from_str(text: &str) -> Result<Self, Misfit> {
        let alone = text.parse::<Ipv6Addr>().is_ok() || is_authority(text) && !text.contains(':');
        if alone {
            return Ok(Self(text.to_owned()));
        }
        let needs = match text.rsplit_once(':') {
            Some((host, port)) if is_authority(text) => {
                format!("the host alone: --host {host} --port {port}")
            }
            Some(_) | None => {
                "a host as the movie spells it, such as 127.0.0.1 or chat.example.org".to_owned()
            }
        };
        Err(Misfit::quoted(text, needs))
    }
}

/// `--port`: a port that a movie can ask for.
struct MoviePort(u16);

impl FromStr for MoviePort {
    type Err = Misfit;

    fn from_str(text: &str) -> Result<Self, Misfit> {
        let port = text.parse().ok().filter(|port| *port != 0);
        port.map(Self).ok_or_else(|| Misfit::quoted(text, "a port from 1 to 65535"))
    }
}

/// `--url`: a WebSocket's address (RFC 6455 section 3), of characters that need no escaping in a
/// script.
struct SocketUrl(String);

impl FromStr for SocketUrl {
    type Err = Misfit;

    fn from_str(text: &str) -> Result<Self, Misfit> {
        let refuse = |needs: String| Err(Misfit::quoted(text, needs));
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse(format!("ws:// or wss:// before it: wss://{text}"));
        };
        match scheme {
            "ws" | "wss" => {}
            "http" => return refuse(format!("ws://{rest}")),
            "https" => return refuse(format!("wss://{rest}")),
            _ => return refuse("ws:// or wss:// at its beginning".to_owned()),
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !is_authority(authority) {
            return refuse(format!(
                "a host behind {scheme}://, such as {scheme}://127.0.0.1:2468/"
            ));
        }
        if path.contains('#') {
            return refuse("an address without a \"#\"".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?[]@!$&'()*+,;=%".contains(c);
        if !path.chars().all(plain) {
            let needs = "other characters written as %XX, as in a browser's address bar";
            return refuse(needs.to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}
