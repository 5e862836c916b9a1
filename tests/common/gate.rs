//! A way to an etcd that sees every request, and can hold, lose or refuse it, or its answer.
//!
//! It speaks HTTP/2 on both sides and looks at the requests only as far as it must to tell and count them. So a test can step in
//! just before or just after the Nth write transaction takes effect, with nothing left to chance.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tonic::Code;

use super::etcd::{Etcd, block_on};
use super::port::listen;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;
type Rule = Arc<dyn Fn(&Call) -> Verdict + Send + Sync>;

/// A request, or its answer, at the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `Write` for a transaction that changes metadata, `Lock` for the one that takes the lock, `Page` for a read with a
    /// limit or of what has changed, `NextPage` for one that is to go on at the revision of another, else the name of the method, such as `Txn`, `Range`, `LeaseGrant`.
    pub kind: String,
    /// The how-manieth of its kind, from 1.
    pub number: u64,
    /// Which side of etcd it is on.
    pub moment: Moment,
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The request has not reached etcd.
    Before,
    /// etcd has answered, and the answer has not left the gate.
    After,
}

/// What becomes of a request or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It stays here until the gate is opened.
    Hold,
    /// It is lost, and the stream with it.
    Lose,
    /// It is lost, and the connection with all that is under way on it.
    Cut,
    /// The client gets this answer instead.
    Refuse(Code, &'static str),
}

/// The way to an etcd. All connections through it end when it is dropped.
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What has come to a gate, also when that is gone.
pub struct Counter(Arc<Shared>);

struct Shared {
    target: SocketAddr,
    rule: Mutex<Rule>,
    state: Mutex<State>,
    open: watch::Sender<bool>,
    ended: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    counts: BTreeMap<String, u64>,
    held: usize,
    under_way: usize,
}

impl Call {
    /// Whether it is a transaction that changes metadata.
    pub fn is_write(&self) -> bool {
        self.kind == "Write"
    }

    /// Whether it is this one.
    pub fn is(&self, kind: &str, number: u64, moment: Moment) -> bool {
        self.kind == kind && self.number == number && self.moment == moment
    }
}

impl Gate {
    /// A gate to the plain endpoint of an etcd, through which everything passes.
    pub fn to(etcd: &Etcd) -> Self {
        let target = etcd.plain_endpoint().trim_start_matches("http://").parse().unwrap();
        let shared = Arc::new(Shared {
            target,
            rule: Mutex::new(Arc::new(|_| Verdict::Pass)),
            state: Mutex::default(),
            open: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        });
        let ended = shared.ended.subscribe();
        let accepted = Arc::clone(&shared);
        let address = block_on(listen(ended, move |client| connect(client, Arc::clone(&accepted))));
        Self { address, shared }
    }

    /// Where clients connect.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Decides from now on what becomes of each request (and of its answer). It may make calls of its own.
    pub fn rule(&self, rule: impl Fn(&Call) -> Verdict + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Arc::new(rule);
    }

    /// Holds the `number`th request of a kind at that moment, and of the kind whatever comes after it.
    pub fn hold(&self, kind: &'static str, number: u64, moment: Moment) {
        self.rule(move |call| {
            let later = call.kind == kind && call.number > number && call.moment == Moment::Before;
            if later || call.is(kind, number, moment) { Verdict::Hold } else { Verdict::Pass }
        });
    }

    /// Whether something is held, and nothing is under way between gate and etcd: what is to be applied is applied.
    pub fn is_holding(&self) -> bool {
        let state = self.shared.state.lock().unwrap();
        state.held > 0 && state.under_way == 0
    }

    /// Lets go what is held, and holds nothing any more.
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }

    /// How many requests of a kind have come.
    pub fn count(&self, kind: &str) -> u64 {
        self.counter().count(kind)
    }

    /// Requests so far, by kind.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.shared.state.lock().unwrap().counts.clone()
    }

    /// Counts on when the gate belongs to a process.
    pub fn counter(&self) -> Counter {
        Counter(Arc::clone(&self.shared))
    }
}

impl Counter {
    /// How many requests of a kind have come.
    pub fn count(&self, kind: &str) -> u64 {
        self.0.state.lock().unwrap().counts.get(kind).copied().unwrap_or(0)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.ended.send_replace(true);
    }
}

/// Passes all requests of one connection on, until one side ends it.
async fn connect(client: TcpStream, shared: Arc<Shared>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let server = TcpStream::connect(shared.target).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (sender, to_server) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(server)).await?;
    let cut = Arc::new(Notify::new());
    let mut ended = shared.ended.subscribe();
    let service = {
        let cut = Arc::clone(&cut);
        service_fn(move |request| pass(Arc::clone(&shared), sender.clone(), Arc::clone(&cut), request))
    };
    let to_client =
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(client), service);
    tokio::select! {
        done = to_client => done?,
        done = to_server => done?,
        () = cut.notified() => (),
        _ = ended.wait_for(|ended| *ended) => (),
    }
    Ok(())
}

async fn pass(
    shared: Arc<Shared>,
    mut sender: SendRequest<Body>,
    cut: Arc<Notify>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    if matches!(method.as_str(), "LeaseKeepAlive" | "Watch" | "Snapshot") {
        let answer = sender.send_request(request.map(BodyExt::boxed_unsync)).await?;
        return Ok(answer.map(BodyExt::boxed_unsync));
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let kind = kind_of(method, &body);
    let number = shared.count(&kind);
    let before = Call { kind, number, moment: Moment::Before };
    if let Some(instead) = shared.judge(&before, &cut).await? {
        return Ok(instead);
    }
    let request = Request::from_parts(head, Full::new(body).map_err(never).boxed_unsync());
    let (head, body) = {
        let _under_way = UnderWay::begin(&shared);
        let (head, body) = sender.send_request(request).await?.into_parts();
        (head, body.collect().await?)
    };
    if let Some(instead) = shared.judge(&Call { moment: Moment::After, ..before }, &cut).await? {
        return Ok(instead);
    }
    Ok(Response::from_parts(head, body.map_err(never).boxed_unsync()))
}

impl Shared {
    fn count(&self, kind: &str) -> u64 {
        let mut state = self.state.lock().unwrap();
        let count = state.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// The answer that the client gets instead; an error if it gets none.
    async fn judge(&self, call: &Call, cut: &Notify) -> io::Result<Option<Response<Body>>> {
        let lost = || io::Error::other("lost");
        if *self.open.borrow() {
            return Ok(None);
        }
        let (rule, asked) = (Arc::clone(&self.rule.lock().unwrap()), call.clone());
        // Rules may block.
        match tokio::task::spawn_blocking(move || rule(&asked)).await.map_err(|_| lost())? {
            Verdict::Pass => Ok(None),
            Verdict::Hold => {
                let _held = Held::begin(self);
                let _ = self.open.subscribe().wait_for(|open| *open).await;
                Ok(None)
            }
            Verdict::Lose => Err(lost()),
            Verdict::Cut => {
                cut.notify_one();
                Err(lost())
            }
            Verdict::Refuse(code, message) => Ok(Some(refusal(code, message))),
        }
    }
}

/// Counts a request as being between gate and etcd for as long as this lives.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.state.lock().unwrap().under_way += 1;
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().under_way -= 1;
    }
}

/// Counts a request or answer as held for as long as this lives.
struct Held<'a>(&'a Shared);

impl<'a> Held<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.state.lock().unwrap().held += 1;
        Self(shared)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().held -= 1;
    }
}

/// etcd's request for a transaction, as far as it is looked at.
#[derive(Clone, PartialEq, Message)]
struct Txn {
    #[prost(message, repeated, tag = "1")]
    compares: Vec<Compare>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    operations: Vec<Bytes>,
}

/// A condition of a transaction, as far as it is looked at.
#[derive(Clone, PartialEq, Message)]
struct Compare {
    #[prost(int32, tag = "1")]
    result: i32,
    #[prost(int32, tag = "2")]
    target: i32,
}

impl Compare {
    /// A version below something: no key has one, so the transaction writes nothing. It only looks.
    fn never_holds(&self) -> bool {
        const LESS: i32 = 2;
        const VERSION: i32 = 0;
        (self.result, self.target) == (LESS, VERSION)
    }
}

/// etcd's request for a range, as far as it is looked at.
#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(int64, tag = "3")]
    limit: i64,
    #[prost(int64, tag = "4")]
    revision: i64,
    /// What has changed since: reading back.
    #[prost(int64, tag = "10")]
    min_mod_revision: i64,
}

/// A gRPC message has 5 bytes of framing before it.
fn kind_of(method: String, body: &Bytes) -> String {
    let message = body.slice(body.len().min(5)..);
    let kind = match method.as_str() {
        "Txn" => Txn::decode(message).ok().and_then(|txn| match &txn.operations[..] {
            _ if txn.compares.is_empty() || txn.compares.iter().any(Compare::never_holds) => None,
            [] => None,
            [only] if only.windows(17).any(|part| part == b"session/migration") => Some("Lock"),
            _ => Some("Write"),
        }),
        "Range" => Range::decode(message).ok().and_then(|range| match range {
            Range { limit: 0, min_mod_revision: 0, .. } => None,
            Range { revision: 0, .. } => Some("Page"),
            _ => Some("NextPage"),
        }),
        _ => None,
    };
    kind.map_or(method, str::to_owned)
}

/// An answer of gRPC that is nothing but a status.
fn refusal(code: Code, message: &'static str) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(never).boxed_unsync());
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", http::HeaderValue::from(code as i32));
    headers.insert("grpc-message", http::HeaderValue::from_static(message));
    response
}

fn never(error: Infallible) -> hyper::Error {
    match error {}
}
