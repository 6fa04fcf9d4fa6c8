//! Real NATS servers for tests: each on a free loopback port with a store folder of its own,
//! killed by the test and, whatever happens, with it.
//!
//! Uses nothing of this crate, so that tests from outside can take the file in with `#[path]`.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// One server that can be killed and started again on its port and with its store.
pub struct NatsServer {
    port: u16,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl NatsServer {
    /// Core NATS only.
    pub fn core() -> Self {
        Self::configured("")
    }

    /// With JetStream, storing files.
    pub fn jetstream() -> Self {
        Self::configured("jetstream { store_dir: \"STORE\" }")
    }

    /// With this configuration; `STORE` in it becomes the server's own folder.
    pub fn configured(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        let mut server = Self { port: 0, folder, process: None };
        server.reconfigure(config);
        server.start();
        server
    }

    /// Has another configuration from the next start on.
    pub fn reconfigure(&self, config: &str) {
        let config = config.replace("STORE", &self.store().display().to_string());
        fs::write(self.folder.path().join("server.conf"), config).expect("write the configuration");
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where it keeps its streams.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Starts it, again on its port, and returns when it takes connections.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        let log = File::create(self.folder.path().join("server.log")).expect("a log file");
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let process = Command::new(executable())
            .args(["--addr", "127.0.0.1", "--port", &port])
            .arg("--config")
            .arg(self.folder.path().join("server.conf"))
            .arg("--ports_file_dir")
            .arg(self.folder.path())
            .stdout(log.try_clone().expect("the log file twice"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("start nats-server");
        let id = process.id();
        self.process = Some(process);
        let found = until("the server's port", || self.read_port(id).filter(|port| greets(*port)));
        self.port = found;
    }

    /// Ends it at once, as a power cut would end the process.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kill the server");
            process.wait().expect("the server's end");
        }
    }

    /// Stops it in the middle of whatever it does; connections stay open and nobody answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Its log since it was last started.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("the server runs");
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(sent.expect("run kill").success());
    }

    fn read_port(&mut self, id: u32) -> Option<u16> {
        let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
        if let Some(ended) = ended {
            panic!("nats-server ended ({ended}):\n{}", self.said());
        }
        if self.port != 0 {
            return Some(self.port);
        }
        // {"nats":["nats://127.0.0.1:4222"]}, or tls:// there, in the file `nats-server_<id>.ports`.
        let file = fs::read_dir(self.folder.path()).ok()?.find_map(|file| {
            let path = file.ok()?.path();
            let ours = path.file_name()?.to_str()?.ends_with(&format!("_{id}.ports"));
            ours.then_some(path)
        })?;
        let text = fs::read_to_string(file).ok()?;
        let digits = text
            .split_once("\"nats\"")?
            .1
            .split_once("://127.0.0.1:")?
            .1
            .split(|c: char| !c.is_ascii_digit());
        digits.into_iter().next()?.parse().ok()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the NATS server at {} said ---\n{}", self.url(), self.said());
        }
    }
}

/// Servers of one cluster, with JetStream; each can be killed and started again.
pub struct NatsCluster {
    /// Named `n0`, `n1` and so on.
    pub servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// As many servers, which find each other.
    pub fn new(size: usize) -> Self {
        // Held all at once, so that they differ.
        let free: Vec<_> = (0..size).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
        let port = |listener: &std::io::Result<TcpListener>| {
            listener.as_ref().ok()?.local_addr().ok().map(|address| address.port())
        };
        let ports: Vec<_> = free.iter().map(|one| port(one).expect("a free port")).collect();
        drop(free);
        let routes: Vec<_> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let routes = routes.join(", ");
        let server = |(number, port): (usize, u16)| {
            NatsServer::configured(&format!(
                "server_name: n{number}\njetstream {{ store_dir: \"STORE\" }}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n"
            ))
        };
        Self { servers: ports.into_iter().enumerate().map(server).collect() }
    }

    /// All of their URLs, as a host takes them.
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.servers.iter().map(NatsServer::url).collect();
        urls.join(",")
    }
}

/// Whether a server says hello on this port.
fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok_and(|_| line.starts_with("INFO "))
}

/// Tries until there is something, or the deadline has passed.
fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {} s", DEADLINE.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The server's executable.
fn executable() -> PathBuf {
    if let Some(named) = std::env::var_os("ENNIO_NATS_SERVER") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "ENNIO_NATS_SERVER names {}, which is no file", named.display());
        return named;
    }
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| {
        let mut path = folder.join("target/tools/nats-server");
        path.set_extension(std::env::consts::EXE_EXTENSION);
        path
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("nats-server{}", std::env::consts::EXE_SUFFIX);
    let installed = std::env::split_paths(&path).map(|folder| folder.join(&name));
    tool.chain(installed).find(|file| file.is_file()).unwrap_or_else(|| {
        panic!(
            "no nats-server, which the tests of the NATS publisher need (run `make setup`, which \
             puts one at target/tools/nats-server, or name one with ENNIO_NATS_SERVER)"
        )
    })
}
