//! Addresses of etcd servers.

use std::net::Ipv6Addr;

use anyhow::{Result, anyhow, bail};

use super::source::quoted;

const DEFAULT_PORT: u16 = 2379;

/// Where an etcd server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `scheme://host:port`, all three always there.
    pub uri: String,
    /// Whether the scheme is `https`.
    pub tls: bool,
}

impl Endpoint {
    /// Reads `host`, `host:port`, `http://host:port` or `https://host:port`.
    ///
    /// The scheme decides about TLS; without one, `ssl_enabled` does.
    ///
    /// # Errors
    /// It is none of these, or it says `http://` though TLS is switched on.
    pub fn parse(text: &str, ssl_enabled: bool) -> Result<Self> {
        if text.contains('@') {
            // Not shown, because what stands before the @ is a password.
            bail!("an address has user and password in it: set etcd.auth.userName and etcd.auth.password instead");
        }
        let (scheme, address) = match text.split_once("://") {
            Some((scheme, address)) => (Some(scheme.to_ascii_lowercase()), address),
            None => (None, text),
        };
        let tls = match scheme.as_deref() {
            None => ssl_enabled,
            Some("https") => true,
            Some("http") if ssl_enabled => bail!(
                "{} is without TLS, but etcd.ssl.enabled (or --tls) asks for it: write https:// or switch it off",
                quoted(text)
            ),
            Some("http") => false,
            Some(_) => bail!("{} is neither http:// nor https://", quoted(text)),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        let (host, port) = split(address).ok_or_else(|| {
            anyhow!(
                "{} is no address, expected host:port, [IPv6]:port, http://host:port or https://host:port",
                quoted(text)
            )
        })?;
        let scheme = if tls { "https" } else { "http" };
        let uri = format!("{scheme}://{host}:{port}");
        // What the connection will read it with must understand it too.
        uri.parse::<http::Uri>().map_err(|error| anyhow!("{} is no address: {error}", quoted(text)))?;
        Ok(Self { uri, tls })
    }
}

/// Host and port, with the host checked and in lower case, so that the same one twice is seen as such.
fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let host: Ipv6Addr = host.parse().ok()?;
        (format!("[{host}]"), if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        let (host, port) = match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        };
        let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        // A number alone is a port whose host was forgotten.
        if !is_name || host.len() > 253 || host.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        (host.to_ascii_lowercase(), port)
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok().filter(|&port| port != 0)?,
        Some(_) => return None,
    };
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_address_becomes_scheme_host_and_port() {
        for (text, ssl_enabled, expected) in [
            ("localhost:2379", false, "http://localhost:2379"),
            ("localhost:2379", true, "https://localhost:2379"),
            ("localhost", false, "http://localhost:2379"),
            ("http://localhost:12379", false, "http://localhost:12379"),
            ("https://etcd-0.etcd:2379", false, "https://etcd-0.etcd:2379"),
            ("https://etcd-0.etcd:2379/", true, "https://etcd-0.etcd:2379"),
            ("HTTPS://ETCD", false, "https://etcd:2379"),
            ("my_etcd.ns.svc.cluster.local:2379", false, "http://my_etcd.ns.svc.cluster.local:2379"),
            ("10.0.0.7:2379", false, "http://10.0.0.7:2379"),
            ("[::1]:2379", false, "http://[::1]:2379"),
            ("[0:0::1]", true, "https://[::1]:2379"),
            ("https://[fe80::1]:1", false, "https://[fe80::1]:1"),
        ] {
            let endpoint = Endpoint::parse(text, ssl_enabled).unwrap();
            assert_eq!((endpoint.uri.as_str(), endpoint.tls), (expected, expected.starts_with("https")), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_text() {
        for text in [
            "",
            ":2379",
            "2379",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "localhost:+80",
            "localhost:2379:1",
            "::1",
            "[::1",
            "[::1]2379",
            "[nonsense]:1",
            "a b",
            "host:2379/path",
            "unix:///run/etcd",
            "ftp://host:1",
            "http://",
            "höst:2379",
            "http://http://host",
        ] {
            let error = Endpoint::parse(text, false).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{text:?}: {error}");
        }
    }

    #[test]
    fn http_is_refused_when_tls_is_switched_on() {
        let error = Endpoint::parse("http://etcd:2379", true).unwrap_err().to_string();
        assert!(error.contains("etcd.ssl.enabled") && error.contains("https://"), "{error}");
    }

    #[test]
    fn a_password_in_an_address_is_refused_without_showing_it() {
        let error = Endpoint::parse("http://root:secret@etcd:2379", false).unwrap_err().to_string();
        assert!(error.contains("etcd.auth") && !error.contains("secret"), "{error}");
    }
}
