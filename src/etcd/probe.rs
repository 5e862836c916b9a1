//! Asks an endpoint that does not work, layer by layer: name, port, TLS, HTTP/2.
//!
//! The errors of the layers above blur the cause ("transport error", "broken pipe"), and what they say changes with the
//! version of a library; what the endpoint itself answers does not.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, ClientConnection, PeerIncompatible};
use rustls_pki_types::{ServerName, UnixTime};

use super::Cause;
use super::certificates::Tls;

/// How an HTTP/2 client begins: the preface, then a frame of no settings (RFC 9113, 3.4).
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const FRAME_HEADER: usize = 9;
const SETTINGS_FRAME: u8 = 4;

/// The endpoint to ask.
pub(super) struct Target {
    host: String,
    port: u16,
    tls: Option<Arc<Tls>>,
    /// How long the failed request had waited; for the messages.
    waited: Duration,
    /// How long one step of asking may take.
    patience: Duration,
}

/// What came back for our greeting.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Http2,
    Http1,
    Nothing,
    Closed,
    Something,
}

/// Asks the endpoint; `None` if it speaks HTTP/2 as it should.
pub(super) async fn ask(target: Target) -> Option<Cause> {
    let (host, limit) = (target.host.clone(), target.patience * 4);
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(move || target.ask())).await {
        Ok(answer) => answer.unwrap_or_else(|error| Some(Cause::Other(error.to_string()))),
        // Every later step has its own, shorter limit.
        Err(_) => Some(Cause::NameNotResolved { host, problem: "the DNS does not answer".to_owned() }),
    }
}

impl Target {
    /// `None` if the address has no host or port.
    pub(super) fn new(uri: &str, tls: Option<Arc<Tls>>, waited: Duration) -> Option<Self> {
        let uri: http::Uri = uri.parse().ok()?;
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let patience = (waited / 4).clamp(Duration::from_millis(250), Duration::from_secs(2));
        Some(Self { host, port, tls, waited, patience })
    }

    /// What a plain HTTP/1 request for `path` brings; `None` if it does not succeed. etcd serves its metrics so.
    pub(super) fn get(&self, path: &str) -> Option<String> {
        let mut stream = self.connect().ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.host);
        let answer = match &self.tls {
            None => exchange(&mut stream, &request),
            Some(tls) => {
                let mut config = tls.config.clone();
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                let mut client = ClientConnection::new(Arc::new(config), self.server_name()?).ok()?;
                exchange(&mut rustls::Stream::new(&mut client, &mut stream), &request)
            }
        }?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?;
        (status == "200").then(|| body.to_owned())
    }

    fn ask(&self) -> Option<Cause> {
        let stream = match self.connect() {
            Ok(stream) => stream,
            Err(cause) => return Some(cause),
        };
        match &self.tls {
            Some(tls) => self.ask_in_tls(tls, stream),
            None => self.ask_plainly(stream),
        }
    }

    fn connect(&self) -> Result<TcpStream, Cause> {
        let not_resolved = |problem: String| Cause::NameNotResolved { host: self.host.clone(), problem };
        let addresses =
            (self.host.as_str(), self.port).to_socket_addrs().map_err(|error| not_resolved(error.to_string()))?;
        let mut cause = not_resolved("it has no address".to_owned());
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.patience) {
                Ok(stream) => {
                    let limit = Some(self.patience);
                    // Fails for a limit of zero only.
                    let _ = stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit));
                    return Ok(stream);
                }
                Err(error) => cause = self.not_connected(&error),
            }
        }
        Err(cause)
    }

    fn not_connected(&self, error: &io::Error) -> Cause {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Cause::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Cause::ConnectTimedOut(self.waited),
            _ => Cause::Other(format!("cannot connect: {error}")),
        }
    }

    fn ask_plainly(&self, mut stream: TcpStream) -> Option<Cause> {
        let heard = greet(&mut stream).unwrap_or(Heard::Closed);
        if heard == Heard::Http2 {
            return None;
        }
        if self.answers_in_tls() {
            return Some(Cause::SpeaksTls);
        }
        Some(match heard {
            Heard::Nothing => Cause::Silent,
            Heard::Http1 => Cause::NotEtcd("it speaks HTTP/1 only".to_owned()),
            Heard::Closed => Cause::NotEtcd("it closes the connection at once".to_owned()),
            Heard::Something | Heard::Http2 => Cause::NotEtcd("it does not speak HTTP".to_owned()),
        })
    }

    /// Whether a TLS handshake is answered by one: with its first message, or with an alert.
    fn answers_in_tls(&self) -> bool {
        const ALERT: u8 = 0x15;
        const HANDSHAKE: u8 = 0x16;
        let hello = || -> Option<u8> {
            let mut config =
                rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .ok()?
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth();
            config.alpn_protocols = vec![b"h2".to_vec()];
            let mut client = ClientConnection::new(Arc::new(config), self.server_name()?).ok()?;
            let mut stream = self.connect().ok()?;
            client.write_tls(&mut stream).ok()?;
            let mut first = [0];
            stream.read_exact(&mut first).ok()?;
            Some(first[0])
        };
        matches!(hello(), Some(ALERT | HANDSHAKE))
    }

    fn ask_in_tls(&self, tls: &Tls, mut stream: TcpStream) -> Option<Cause> {
        let Some(name) = self.server_name() else {
            return Some(Cause::Tls(format!("{:?} is neither a DNS name nor an IP address", self.host)));
        };
        let mut config = tls.config.clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = match ClientConnection::new(Arc::new(config), name) {
            Ok(client) => client,
            Err(error) => return Some(Cause::Tls(error.to_string())),
        };
        // With TLS 1.3 a refused client certificate comes to light only behind the handshake.
        let heard =
            client.complete_io(&mut stream).and_then(|_| greet(&mut rustls::Stream::new(&mut client, &mut stream)));
        let cause = match heard {
            Ok(Heard::Http2) => return None,
            Ok(Heard::Nothing) => Cause::Silent,
            Ok(heard) => Cause::NotEtcd(format!("within TLS it says {heard:?}")),
            Err(error) => match tls_error(&error).map(|error| of_tls(error, tls, &self.host)) {
                Some(Some(cause)) => return Some(cause),
                _ if is_timeout(&error) => Cause::Silent,
                _ => Cause::Tls(error.to_string()),
            },
        };
        Some(if self.answers_plainly() { Cause::SpeaksPlain } else { cause })
    }

    fn answers_plainly(&self) -> bool {
        let heard = self.connect().ok().and_then(|mut stream| greet(&mut stream).ok());
        matches!(heard, Some(Heard::Http2))
    }

    fn server_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.host.clone()).ok()
    }
}

/// Sends a request and reads the answer to its end, up to a size that no metrics have.
fn exchange(stream: &mut (impl Read + Write), request: &str) -> Option<String> {
    const LARGEST: u64 = 8 << 20;
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).ok()?;
    let mut answer = Vec::new();
    // A server that hangs up without ending TLS properly has said everything by then.
    if stream.take(LARGEST).read_to_end(&mut answer).is_err() && answer.is_empty() {
        return None;
    }
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Begins HTTP/2 and looks at what comes back.
///
/// # Errors
/// TLS fails.
fn greet(stream: &mut (impl Read + Write)) -> io::Result<Heard> {
    // A server that hangs up may have said why before: so its words are read even if ours did not get through.
    match stream.write_all(GREETING).and_then(|()| stream.flush()) {
        Err(error) if tls_error(&error).is_some() => return Err(error),
        _ => {}
    }
    let mut head = [0; FRAME_HEADER];
    let mut filled = 0;
    while filled < head.len() {
        match stream.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if tls_error(&error).is_some() => return Err(error),
            Err(error) if is_timeout(&error) && filled == 0 => return Ok(Heard::Nothing),
            Err(_) => break,
        }
    }
    Ok(match &head[..filled] {
        [] => Heard::Closed,
        frame if frame.len() == FRAME_HEADER && frame[3] == SETTINGS_FRAME => Heard::Http2,
        text if text.starts_with(b"HTTP/") => Heard::Http1,
        _ => Heard::Something,
    })
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The cause in an error of the handshake; `None` if what came back was no TLS at all.
fn of_tls(error: &rustls::Error, tls: &Tls, host: &str) -> Option<Cause> {
    Some(match error {
        rustls::Error::InvalidMessage(_) => return None,
        rustls::Error::InvalidCertificate(problem) => of_certificate(problem, tls, host),
        rustls::Error::AlertReceived(alert) => of_alert(*alert, tls),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => Cause::TlsTooOld(tls.min_version),
        other => Cause::Tls(other.to_string()),
    })
}

fn of_certificate(problem: &CertificateError, tls: &Tls, host: &str) -> Cause {
    match problem {
        // A bad signature: another CA with the same name, typically the one of an earlier installation.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Cause::UnknownIssuer(tls.trusted.clone()),
        CertificateError::NotValidForNameContext { presented, .. } => Cause::WrongName {
            expected: host.to_owned(),
            presented: if presented.is_empty() { "nothing".to_owned() } else { names(presented) },
        },
        CertificateError::ExpiredContext { time, not_after } => {
            Cause::BadCertificate(format!("it expired {} ago", span(*not_after, *time)))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            Cause::BadCertificate(format!("it becomes valid in {}", span(*time, *not_before)))
        }
        other => Cause::BadCertificate(other.to_string()),
    }
}

/// rustls writes them as `DnsName("etcd.example")` and `IpAddress(10.0.0.1)`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| name.split_once('(').map_or(name.clone(), |(_, rest)| rest.replace(['"', ')'], ""));
    presented.iter().map(bare).collect::<Vec<_>>().join(", ")
}

fn span(from: UnixTime, to: UnixTime) -> String {
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    match seconds / 3600 {
        0 => format!("{} min", seconds / 60),
        hours @ 1..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

fn of_alert(alert: AlertDescription, tls: &Tls) -> Cause {
    use AlertDescription as Alert;
    match alert {
        Alert::ProtocolVersion => Cause::TlsTooOld(tls.min_version),
        // Go before 1.21 says "bad certificate" when it means that it got none.
        Alert::CertificateRequired | Alert::BadCertificate if !tls.has_client_cert => Cause::ClientCertDemanded,
        Alert::CertificateRequired
        | Alert::BadCertificate
        | Alert::UnknownCA
        | Alert::CertificateUnknown
        | Alert::CertificateExpired
        | Alert::CertificateRevoked
        | Alert::UnsupportedCertificate
        | Alert::AccessDenied
            if tls.has_client_cert =>
        {
            Cause::ClientCertRefused(format!("alert {alert:?}"))
        }
        other => Cause::Tls(format!("etcd sends the alert {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_are_told_as_people_write_them() {
        let presented = ["DnsName(\"etcd.example\")".to_owned(), "IpAddress(10.0.0.1)".to_owned(), "other".to_owned()];
        assert_eq!(names(&presented), "etcd.example, 10.0.0.1, other");
    }

    #[test]
    fn spans_are_told_in_the_unit_that_fits() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        for (seconds, expected) in [(0, "0 min"), (3599, "59 min"), (7200, "2 h"), (172_800, "2 days")] {
            assert_eq!(span(at(1000), at(1000 + seconds)), expected);
        }
        assert_eq!(span(at(1000), at(0)), "0 min");
    }

    #[test]
    fn an_address_is_taken_apart() {
        let waited = Duration::from_secs(10);
        let target = Target::new("https://[::1]:2379", None, waited).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.patience), ("::1", 2379, Duration::from_secs(2)));
        assert!(Target::new("", None, waited).is_none());
    }
}
