//! One etcd.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, KvClient, Permission, PutOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::process::{Process, wait_until};
use super::tls::Certs;

/// The versions that Milvus is installed with: 3.4 is the oldest in use, the charts of Milvus 2.1 and 2.2 bring 3.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V3_4,
    V3_5,
}

impl Version {
    /// The program; `ETCD34_BIN` and `ETCD35_BIN` lead to others.
    pub fn binary(self) -> PathBuf {
        let (variable, usual) = match self {
            Self::V3_4 => ("ETCD34_BIN", PathBuf::from("/usr/bin/etcd")),
            Self::V3_5 => ("ETCD35_BIN", Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/etcd-3.5/etcd")),
        };
        let binary = std::env::var_os(variable).map_or(usual, PathBuf::from);
        assert!(
            binary.is_file(),
            "there is no etcd at {}: run scripts/setup.sh, or set {variable} to the path of one",
            binary.display()
        );
        binary
    }
}

/// How an etcd is to be started.
pub struct Builder {
    version: Version,
    certs: Option<Certs>,
    client_cert_required: bool,
    args: Vec<String>,
    membership: Vec<String>,
}

/// A running etcd. It ends, and its data is deleted, when this is dropped.
///
/// With TLS it has a second, plain port for the calls of this harness.
pub struct Etcd {
    builder: Builder,
    process: Process,
    /// The port for clients without TLS.
    plain_port: u16,
    tls_port: Option<u16>,
    client: Mutex<Client>,
    dir: TempDir,
}

/// Waits for a future; for clients of etcd in a plain test.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(future)
}

impl Builder {
    /// Serves TLS with the server certificate of `certs`.
    pub fn tls(mut self, certs: &Certs) -> Self {
        self.certs = Some(certs.clone());
        self
    }

    /// Lets nobody in without a client certificate of the same CA.
    pub fn client_cert_required(mut self) -> Self {
        self.client_cert_required = true;
        self
    }

    /// Another flag of etcd, like `--quota-backend-bytes=16777216`.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Makes it a member of a larger cluster; the flags replace those of a single member.
    pub(super) fn membership(mut self, flags: Vec<String>) -> Self {
        self.membership = flags;
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Etcd {
        let mut etcd = self.launch();
        etcd.wait_until_ready().unwrap_or_else(|problem| panic!("etcd does not start: {problem}"));
        etcd
    }

    /// Starts it and does not wait.
    pub(super) fn launch(self) -> Etcd {
        let dir = tempfile::Builder::new().prefix("etcd-test-").tempdir().unwrap();
        // Port 0: etcd finds free ones by itself, and its log tells which; so no two tests can ever collide.
        let process = self.spawn(dir.path(), 0, 0);
        let client = Mutex::new(client_of("http://127.0.0.1:0", None));
        Etcd { builder: self, process, plain_port: 0, tls_port: None, client, dir }
    }

    /// Beside TLS on another address: etcd 3.4 makes one listener of two URLs that differ in the scheme only.
    fn plain_host(&self) -> &'static str {
        if self.certs.is_some() { "127.0.0.2" } else { "127.0.0.1" }
    }

    fn spawn(&self, dir: &Path, plain_port: u16, tls_port: u16) -> Process {
        let mut args: Vec<String> =
            ["--data-dir=data", "--logger=zap", "--enable-grpc-gateway=false", "--bcrypt-cost=4"]
                .map(str::to_owned)
                .into();
        if self.version == Version::V3_5 {
            args.push("--unsafe-no-fsync".to_owned());
        }
        let plain = format!("http://{}:{plain_port}", self.plain_host());
        let urls = match &self.certs {
            None => plain,
            Some(certs) => {
                args.push(format!("--cert-file={}", certs.server().cert.display()));
                args.push(format!("--key-file={}", certs.server().key.display()));
                if self.client_cert_required {
                    args.push("--client-cert-auth".to_owned());
                    args.push(format!("--trusted-ca-file={}", certs.ca().display()));
                }
                format!("https://127.0.0.1:{tls_port},{plain}")
            }
        };
        args.push(format!("--listen-client-urls={urls}"));
        args.push(format!("--advertise-client-urls={urls}"));
        args.extend(self.membership.iter().cloned());
        args.extend(self.args.iter().cloned());
        Process::start(&self.version.binary(), &args, dir)
    }
}

impl Etcd {
    /// A plain etcd.
    pub fn start(version: Version) -> Self {
        Self::with(version).start()
    }

    /// An etcd with something special.
    pub fn with(version: Version) -> Builder {
        let alone = [
            "--listen-peer-urls=http://127.0.0.1:0",
            "--initial-advertise-peer-urls=http://127.0.0.1:0",
            "--initial-cluster=default=http://127.0.0.1:0",
            "--heartbeat-interval=10",
            "--election-timeout=100",
        ];
        let membership = alone.map(str::to_owned).into();
        Builder { version, certs: None, client_cert_required: false, args: Vec::new(), membership }
    }

    /// Waits for the ports, then for an answer.
    ///
    /// # Errors
    /// It ended, or it does not answer in time; with the end of its log.
    pub(super) fn wait_until_ready(&mut self) -> Result<(), String> {
        self.plain_port = self.process.wait_for(|log| served_port(log, "insecurely"))?;
        if self.builder.certs.is_some() {
            self.tls_port = Some(self.process.wait_for(|log| served_port(log, "securely"))?);
        }
        self.client = Mutex::new(client_of(&self.plain_endpoint(), None));
        wait_until("etcd answers", || match self.try_get("health") {
            Ok(_) => true,
            Err(Error::GRpcStatus(status)) => status.message().contains("user name is empty"),
            Err(_) => false,
        });
        Ok(())
    }

    /// Where clients connect: `https://127.0.0.1:port` with TLS, else `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        self.tls_port.map_or_else(|| self.plain_endpoint(), |port| format!("https://127.0.0.1:{port}"))
    }

    /// The endpoint without TLS.
    pub fn plain_endpoint(&self) -> String {
        format!("http://{}:{}", self.builder.plain_host(), self.plain_port)
    }

    /// Ends the process the hard way; the data stays for [`Etcd::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same ports, with the same data.
    pub fn restart(&mut self) {
        self.relaunch();
        self.wait_until_back();
    }

    /// Starts it again and does not wait: a member alone answers nothing.
    pub(super) fn relaunch(&mut self) {
        self.process.kill();
        self.process = self.builder.spawn(self.dir.path(), self.plain_port, self.tls_port.unwrap_or(0));
    }

    /// Waits until it answers again.
    pub(super) fn wait_until_back(&mut self) {
        let login = self.auth_is_enabled().then_some("root");
        self.wait_until_ready().unwrap_or_else(|problem| panic!("etcd does not start again: {problem}"));
        self.client = Mutex::new(client_of(&self.plain_endpoint(), login));
    }

    /// Stops the process where it is: connections stand, nobody answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Adds a user with a role of the same name.
    pub fn add_user(&self, name: &str, password: &str, permissions: &[Permission]) {
        self.run(async |mut client| {
            client.role_add(name).await?;
            for permission in permissions {
                client.role_grant_permission(name, permission.clone()).await?;
            }
            client.user_add(name, password, None).await?;
            client.user_grant_role(name, name).await
        });
    }

    /// Turns authentication on, with a user root whose password is root.
    pub fn enable_auth(&self) {
        self.run(async |mut client| {
            client.user_add("root", "root", None).await?;
            client.role_add("root").await?;
            client.user_grant_role("root", "root").await?;
            client.auth_enable().await
        });
        std::fs::write(self.auth_mark(), "").unwrap();
        *self.client.lock().unwrap() = client_of(&self.plain_endpoint(), Some("root"));
    }

    fn auth_mark(&self) -> PathBuf {
        self.dir.path().join("auth-enabled")
    }

    pub(super) fn auth_is_enabled(&self) -> bool {
        self.auth_mark().exists()
    }

    /// A client of the harness (without TLS, as root); with [`block_on`], or in [`Etcd::run`].
    pub fn client(&self) -> Client {
        self.client.lock().unwrap().clone()
    }

    /// Makes requests that must succeed.
    pub fn run<T>(&self, requests: impl AsyncFnOnce(Client) -> Result<T, Error>) -> T {
        block_on(requests(self.client())).unwrap()
    }

    /// As [`Etcd::run`], for reads of any size.
    pub(super) fn kv<T>(&self, requests: impl AsyncFnOnce(KvClient) -> Result<T, Error>) -> T {
        let client = self.client().kv_client().max_decoding_message_size(1 << 30);
        block_on(requests(client)).unwrap()
    }

    fn try_get(&self, key: &str) -> Result<bool, Error> {
        let answer = block_on(self.client().kv_client().get(key, None))?;
        Ok(!answer.kvs().is_empty())
    }

    /// Writes a key.
    pub fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.kv(async |mut kv| kv.put(key, value, None).await);
    }

    /// Writes a key that goes away after `seconds`, or with the lease that is returned.
    pub fn put_with_lease(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, seconds: i64) -> i64 {
        let lease = self.run(async |mut client| client.lease_grant(seconds, None).await).id();
        self.kv(async |mut kv| kv.put(key, value, Some(PutOptions::new().with_lease(lease))).await);
        lease
    }

    /// Ends a lease and deletes its keys.
    pub fn revoke(&self, lease: i64) {
        self.run(async |mut client| client.lease_revoke(lease).await);
    }

    /// Deletes a key.
    pub fn delete(&self, key: impl Into<Vec<u8>>) {
        self.kv(async |mut kv| kv.delete(key, None).await);
    }

    /// The value of a key.
    pub fn get(&self, key: impl Into<Vec<u8>>) -> Option<Vec<u8>> {
        let mut answer = self.kv(async |mut kv| kv.get(key, None).await);
        answer.take_kvs().pop().map(|kv| kv.into_key_value().1)
    }

    /// The newest revision.
    pub fn revision(&self) -> i64 {
        self.kv(async |mut kv| kv.get("revision", None).await).header().unwrap().revision()
    }

    /// The id of this member.
    pub fn member_id(&self) -> u64 {
        self.run(async |mut client| client.status().await).header().unwrap().member_id()
    }

    /// The member that leads the cluster, as this one sees it; 0 if it sees none.
    pub fn leader_id(&self) -> u64 {
        self.run(async |mut client| client.status().await).leader()
    }

    /// Drops everything before `revision`.
    pub fn compact(&self, revision: i64) {
        self.kv(async |mut kv| kv.compact(revision, None).await);
    }
}

fn client_of(endpoint: &str, login: Option<&str>) -> Client {
    let mut options = ConnectOptions::new().with_timeout(Duration::from_secs(20)).with_auto_token_refresh(true);
    if let Some(user) = login {
        options = options.with_user(user, user);
    }
    block_on(Client::connect([endpoint], Some(options))).unwrap()
}

/// etcd says "serving client traffic insecurely; …" with its address, and "serving client traffic securely".
fn served_port(log: &[Value], how: &str) -> Option<u16> {
    let start = format!("serving client traffic {how}");
    let line = log.iter().find(|line| line["msg"].as_str().is_some_and(|text| text.starts_with(&start)))?;
    line["address"].as_str()?.rsplit(':').next()?.parse().ok()
}
