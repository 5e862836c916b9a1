//! `--expect-address`: the components that are registered under this root are the ones that were meant.
//!
//! A root path is easily mistaken, and several Milvus can share an etcd; addresses of pods or hosts are what a person can
//! look up on the other side. Pure: who is registered is handed in.

use std::fmt;
use std::str::FromStr;

use crate::guard::Session;
use crate::layout::keys::MIGRATION_SESSION;

/// An address that somebody expects: a host, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedAddress {
    host: String,
    port: Option<u16>,
}

/// What is registered under one meta root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The meta root, without a slash at the end.
    pub root: String,
    /// Its sessions; the migration lock may be among them.
    pub sessions: Vec<Session>,
}

/// The components under the root are those that are expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// How many components are registered there.
    pub components: usize,
    /// Expected addresses at which none of them is.
    pub absent: Vec<ExpectedAddress>,
}

/// Decides whether the components under `root` are at the expected addresses, all of them.
///
/// `all` are the sessions of every meta root in this etcd, `root` among them; other roots only serve to say where the expected
/// ones are.
///
/// # Errors
/// No component is registered under `root`, or one that is not expected; in words, with the root that has the expected ones.
pub fn judge(expected: &[ExpectedAddress], root: &str, all: &[Registered]) -> Result<Fit, String> {
    let here: Vec<&Session> = all.iter().filter(|one| one.root == root).flat_map(components).collect();
    let strangers: Vec<_> = here.iter().filter(|session| !is_expected(session, expected)).map(in_words).collect();
    let problem = match (here.is_empty(), strangers.as_slice()) {
        (true, _) => format!("no component is registered under {root}"),
        (false, []) => {
            let is_absent = |one: &&ExpectedAddress| !here.iter().any(|session| one.is_of(session));
            let absent = expected.iter().filter(is_absent).cloned().collect();
            return Ok(Fit { components: here.len(), absent });
        }
        (false, strangers) => format!("under {root} there are components at other addresses: {}", strangers.join(", ")),
    };
    let list: Vec<_> = expected.iter().map(ToString::to_string).collect();
    Err(format!("--expect-address {}: {problem}. {}", list.join(","), elsewhere(expected, root, all)))
}

/// Under which other roots the expected addresses are.
fn elsewhere(expected: &[ExpectedAddress], root: &str, all: &[Registered]) -> String {
    let found: Vec<_> = all
        .iter()
        .filter(|other| other.root != root)
        .filter_map(|other| {
            let there: Vec<_> =
                components(other).filter(|session| is_expected(session, expected)).map(|one| in_words(&one)).collect();
            (!there.is_empty()).then(|| format!("{} ({})", other.root, there.join(", ")))
        })
        .collect();
    if found.is_empty() {
        "No other root in this etcd has components at these addresses: is it the right etcd, and is that Milvus running?".to_owned()
    } else {
        format!(
            "These addresses are under {}: correct etcd.rootPath and etcd.metaSubPath, or the addresses",
            found.join(" and ")
        )
    }
}

/// All but the migration lock, whose address tells of this tool.
fn components(registered: &Registered) -> impl Iterator<Item = &Session> {
    registered.sessions.iter().filter(|session| !session.key.ends_with(&format!("/{MIGRATION_SESSION}")))
}

fn is_expected(session: &Session, expected: &[ExpectedAddress]) -> bool {
    expected.iter().any(|one| one.is_of(session))
}

fn in_words(session: &&Session) -> String {
    match &session.address {
        Some(address) => format!("{} at {}", session.role, address.escape_debug()),
        None => format!("{} without an address", session.role),
    }
}

impl ExpectedAddress {
    fn is_of(&self, session: &Session) -> bool {
        let registered = session.address.as_deref().and_then(|address| address.parse::<Self>().ok());
        registered.is_some_and(|there| there.host == self.host && (self.port.is_none() || there.port == self.port))
    }
}

/// Reads `host`, `host:port`, `IPv6` and `[IPv6]:port`.
impl FromStr for ExpectedAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let refusal =
            || format!("{text:?} is no address, expected host or host:port, as components register themselves");
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(refusal)?)),
            // Several colons: an IPv6 address alone.
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(str::parse::<u16>).transpose().map_err(|_| refusal())?;
        let is_host =
            !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'));
        if !is_host {
            return Err(refusal());
        }
        let host = host.parse::<std::net::IpAddr>().map_or_else(|_| host.to_lowercase(), |address| address.to_string());
        Ok(Self { host, port })
    }
}

impl fmt::Display for ExpectedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => f.write_str(&self.host),
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(root: &str, sessions: &[(&str, Option<&str>)]) -> Registered {
        let session = |(role, address): &(&str, Option<&str>)| Session {
            key: format!("{root}/session/{role}"),
            role: (*role).to_owned(),
            server_id: Some(1),
            address: address.map(str::to_owned),
            seconds_left: Some(60),
            leased: true,
        };
        Registered { root: root.to_owned(), sessions: sessions.iter().map(session).collect() }
    }

    fn decide(expected: &str, all: &[Registered]) -> Result<Fit, String> {
        let expected: Vec<_> = expected.split(',').map(|one| one.parse().unwrap()).collect();
        judge(&expected, "by-dev/meta", all)
    }

    #[test]
    fn components_at_the_expected_addresses_fit() {
        let here = [registered(
            "by-dev/meta",
            &[
                ("rootcoord", Some("10.0.0.1:53100")),
                ("proxy-9", Some("Host-B:19530")),
                ("migration", Some("laptop:77")),
            ],
        )];
        for expected in ["10.0.0.1,host-b", "10.0.0.1:53100,HOST-B:19530", "host-b,10.0.0.1"] {
            assert_eq!(decide(expected, &here), Ok(Fit { components: 2, absent: vec![] }), "{expected}");
        }
        let fit = decide("10.0.0.1,host-b,10.0.0.7", &here).unwrap();
        assert_eq!(fit.absent.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.7"]);
    }

    #[test]
    fn others_are_refused_by_name_with_the_root_that_has_the_expected_ones() {
        let all = [
            registered("by-dev/meta", &[("rootcoord", Some("10.0.0.1:53100")), ("proxy-9", None)]),
            registered("prod/meta", &[("rootcoord", Some("10.0.0.2:53100"))]),
            registered("test/meta", &[("rootcoord", Some("10.0.0.3:53100"))]),
        ];
        let refusal = decide("10.0.0.2", &all).unwrap_err();
        for text in [
            "--expect-address 10.0.0.2: under by-dev/meta there are components at other addresses: rootcoord at 10.0.0.1:53100, \
             proxy-9 without an address.",
            "These addresses are under prod/meta (rootcoord at 10.0.0.2:53100): correct etcd.rootPath",
        ] {
            assert!(refusal.contains(text), "{text}: {refusal}");
        }
        assert!(!refusal.contains("test/meta"), "{refusal}");
        // One of them is not enough.
        assert!(decide("10.0.0.1", &all).is_err(), "the proxy is not known to be there");
        let port = decide("10.0.0.1:1", &all).unwrap_err();
        assert!(port.contains("No other root in this etcd"), "{port}");
    }

    #[test]
    fn nobody_is_refused_too() {
        let all = [
            registered("by-dev/meta", &[("migration", Some("10.0.0.2:1"))]),
            registered("prod/meta", &[("proxy", Some("10.0.0.2:1"))]),
        ];
        let refusal = decide("10.0.0.2", &all).unwrap_err();
        assert!(
            refusal.contains("no component is registered under by-dev/meta. These addresses are under prod/meta"),
            "{refusal}"
        );
        assert!(decide("10.0.0.9", &[]).unwrap_err().contains("is that Milvus running?"));
    }

    #[test]
    fn addresses_are_read_in_every_spelling() {
        for (typed, shown) in [
            ("10.0.0.1", "10.0.0.1"),
            ("Host:1", "host:1"),
            (" a.b.svc ", "a.b.svc"),
            ("::1", "::1"),
            ("[0:0::1]:53100", "[::1]:53100"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(typed.parse::<ExpectedAddress>().unwrap().to_string(), shown, "{typed}");
        }
        for typed in ["", ":1", "a:", "a:x", "a:99999", "a b", "http://a:1", "[::1]1", "a,b"] {
            assert!(typed.parse::<ExpectedAddress>().is_err(), "{typed}");
        }
    }
}
