//! A host process: started, asked, killed, started again on the same database.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use tempfile::TempDir;

use super::PATIENCE;

/// The binary under test.
pub fn ennio() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ennio"));
    // Nothing of the developer's own setting may leak in.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ENNIO_")) {
        command.env_remove(name);
    }
    command
}

/// A folder with a database, and the arguments of the host that is started on it.
pub struct Setup {
    pub folder: TempDir,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Setup {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), arguments: Vec::new(), variables: Vec::new() }
    }

    pub fn plugins(self, folder: &Path) -> Self {
        self.argument("--plugins").argument(folder.to_str().unwrap())
    }

    /// With the NATS server at `url`, where the host publishes events and nothing of itself.
    pub fn publishing_to(self, url: &str) -> Self {
        let quiet = "metrics_interval = \"0s\"\ndashboard = false\n[node]\nevents = false\n";
        self.config(&format!("[nats]\nurl = \"{url}\"\n{quiet}"))
    }

    /// With this configuration file.
    pub fn config(self, text: &str) -> Self {
        let file = self.folder.path().join("ennio.toml");
        std::fs::write(&file, text).unwrap();
        self.argument("--config").argument(file.to_str().unwrap())
    }

    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("ennio.db")
    }

    fn command(&self) -> Command {
        let mut command = ennio();
        command.arg("serve").arg("--db").arg(self.database());
        if !self.arguments.iter().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(&self.arguments).envs(self.variables.clone()).current_dir(self.folder.path());
        command
    }

    /// Starts a host and waits for its ready line.
    pub fn start(&self) -> Host {
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let (ready, told) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let readers = vec![
            collect(stdout, Arc::clone(&output), Some(ready)),
            collect(stderr, Arc::clone(&output), None),
        ];
        let mut host = Host { child, url: String::new(), output, readers };
        match told.recv_timeout(PATIENCE) {
            Ok(url) => host.url = url,
            Err(_) => panic!("the host did not become ready:\n{}", host.output()),
        }
        host
    }

    /// Runs a host that is expected to refuse to start. Its exit code and stderr.
    pub fn refused(&self) -> (Option<i32>, String) {
        let output = self.command().stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn collect(
    from: impl Read + Send + 'static,
    into: Arc<Mutex<String>>,
    ready: Option<mpsc::Sender<String>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            if let Some((_, rest)) = line.split_once("is ready on ")
                && let Some(ready) = &ready
            {
                let url = rest.split_whitespace().next().unwrap().to_owned();
                let _ = ready.send(url);
            }
            let mut output = into.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    })
}

/// A running host. Killed when dropped.
pub struct Host {
    child: Child,
    pub url: String,
    output: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Host {
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// The memory that the process occupies, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib << 10
    }

    /// As a power switch would, for the process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As Ctrl-C would. Returns what the host said, once it has ended in order.
    pub fn interrupt(self) -> String {
        let signalled = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(signalled.unwrap().success());
        self.ended()
    }

    /// Waits for a host that was asked to end. Returns what it said, once it has ended in order.
    pub fn ended(mut self) -> String {
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.output());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.output()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the host said ---\n{}", self.output());
        }
    }
}
