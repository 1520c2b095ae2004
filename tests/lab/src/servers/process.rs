//! Starts a server, waits until it serves, and ends it reliably.
//!
//! The server's own log tells that it is *ready*. A successful connection would not: another process may have taken the
//! port, and the connection would appear in the log that tests assert on.
//!
//! A guard *ends* the server: a shell that waits for its standard input to close. The input closes when [`Running`] is
//! dropped, and also when the test process is killed. The guard then ends the server's process group and removes its
//! folder.

use super::{Setup, StartError};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PORT_LIMIT: Duration = Duration::from_secs(60);
const START_LIMIT: Duration = Duration::from_secs(20);
const START_TRIES: usize = 5;

/// `$1`: process group, `$2`: folder, `$3`: see [`Plan::shared_memory`]. Each line of input is the process group of the
/// server that was started again. By force: nothing is worth saving, and Squid takes a second to end in order.
const GUARD: &str = r#"
group=$1
while read -r next; do group=$next; done
kill -s KILL -- "-$group"
rm -rf "$2"
[ -z "$3" ] || rm -f "/dev/shm/$3"*
"#;

/// Returns the request in a line of a log, if there is one.
pub(super) type ReadRequest = for<'a> fn(&'a str) -> Option<&'a str>;

/// The command that starts a server in a [`Scratch`] folder, and the files that it then writes.
pub(super) struct Plan {
    pub(super) command: Command,
    /// A text, and the number of its occurrences in the logs once the server serves.
    pub(super) ready: (&'static str, usize),
    /// The prefix of the names of the shared memory that the server creates, and that it leaves behind when it is
    /// ended.
    pub(super) shared_memory: Option<String>,
    /// All log files, relative to the folder.
    pub(super) logs: &'static [&'static str],
    /// The log with a line for each request, and its reader.
    pub(super) requests: (&'static str, ReadRequest),
}

/// A server's own folder. Readable for the user that a server started by root
/// changes to; `log/` is also writable for it.
pub(super) struct Scratch {
    dir: TempDir,
    pub(super) is_root: bool,
}

impl Scratch {
    fn new(name: &str) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix(&format!("lab-{name}-")).tempdir()?;
        let is_root = fs::metadata(dir.path())?.uid() == 0;
        let log = dir.path().join("log");
        fs::create_dir(&log)?;
        if is_root {
            fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
            fs::set_permissions(&log, Permissions::from_mode(0o777))?;
        }
        Ok(Self { dir, is_root })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file and returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, StartError> {
        let path = self.path().join(name);
        fs::write(&path, text).map_err(|e| StartError::io(format!("cannot write {}", path.display()), e))?;
        Ok(path)
    }

    /// Writes `tls.pem` and `tls.key`, if the server is to speak TLS.
    pub(super) fn write_tls(&self, setup: &Setup) -> Result<(), StartError> {
        if let Some(files) = &setup.tls {
            self.write("tls.pem", &files.cert_pem)?;
            self.write("tls.key", &files.key_pem)?;
        }
        Ok(())
    }
}

/// A server that serves.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) addr: SocketAddr,
    pub(super) tls_addr: Option<SocketAddr>,
    logs: &'static [&'static str],
    requests: (&'static str, ReadRequest),
    command: Command,
    ready: (&'static str, usize),
    child: Child,
    guard: Child,
    dir: TempDir,
}

/// Starts a server on a free port, and a second one for TLS if `tls`.
pub(super) async fn start(
    name: &str,
    tls: bool,
    mut plan: impl FnMut(&Scratch, SocketAddr, Option<SocketAddr>) -> Result<Plan, StartError>,
) -> Result<Running, StartError> {
    let io = |e| StartError::io(format!("cannot prepare {name}"), e);
    let mut tries = 0;
    loop {
        tries += 1;
        let scratch = Scratch::new(name).map_err(io)?;
        let ports = free_ports(1 + usize::from(tls)).map_err(io)?;
        let tls_addr = ports.get(1).copied();
        let plan = plan(&scratch, ports[0], tls_addr)?;
        let mut running =
            spawn(plan, scratch, ports[0], tls_addr).map_err(|e| StartError::io(format!("cannot run {name}"), e))?;
        match wait(&mut running, name).await {
            Ok(()) => return Ok(running),
            Err(_) if tries < START_TRIES && port_taken(&running.log()) => continue,
            Err(error) => return Err(error.with_log(running.log())),
        }
    }
}

fn spawn(mut plan: Plan, scratch: Scratch, addr: SocketAddr, tls_addr: Option<SocketAddr>) -> io::Result<Running> {
    let mut child = run(&mut plan.command, scratch.path())?;
    let guard = Command::new("sh")
        .args(["-c", GUARD, "guard"])
        .arg(child.id().to_string())
        .arg(scratch.path())
        .arg(plan.shared_memory.unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })?;
    Ok(Running {
        addr,
        tls_addr,
        logs: plan.logs,
        requests: plan.requests,
        command: plan.command,
        ready: plan.ready,
        child,
        guard,
        dir: scratch.dir,
    })
}

fn run(command: &mut Command, dir: &Path) -> io::Result<Child> {
    let console = File::create(dir.join("log/console.log"))?;
    command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .process_group(0)
        .spawn()
}

async fn wait(running: &mut Running, name: &str) -> Result<(), StartError> {
    let (since, (ready, times)) = (Instant::now(), running.ready);
    loop {
        let exited = running.child.try_wait();
        let log = running.log();
        if let Some(status) = exited.map_err(|e| StartError::io(format!("cannot watch {name}"), e))? {
            return Err(StartError::new(format!("{name} ended with {status}")));
        }
        // Squid reports a port before it listens on it.
        if log.matches(ready).count() >= times && running.listens() {
            return Ok(());
        }
        if port_taken(&log) {
            return Err(StartError::new(format!("{name} found its port taken")));
        }
        if since.elapsed() > START_LIMIT {
            return Err(StartError::new(format!("{name} did not serve within {START_LIMIT:?}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn port_taken(log: &str) -> bool {
    log.to_ascii_lowercase().contains("address already in use")
        // tinyproxy does not say why.
        || log.contains("Could not create listening sockets")
}

/// Distinct ports that were free a moment ago.
fn free_ports(count: usize) -> io::Result<Vec<SocketAddr>> {
    let held = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<Vec<_>>>()?;
    held.iter().map(TcpListener::local_addr).collect()
}

impl Running {
    /// Ends the server at once (SIGKILL), with all its processes.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        let group = format!("-{}", self.child.id());
        let kill = Command::new("sh")
            .args(["-c", r#"kill -s KILL -- "$1""#, "kill", &group])
            .status()?;
        if !kill.success() {
            return Err(io::Error::other(format!(
                "cannot kill the process group {group}: {kill}"
            )));
        }
        self.child.wait().map(drop)
    }

    /// Starts the server again on its ports, with empty logs.
    pub(super) async fn restart(&mut self, name: &str) -> Result<(), StartError> {
        let failed = |e| StartError::io(format!("cannot run {name} again"), e);
        let since = Instant::now();
        loop {
            for log in self.logs {
                let _ = fs::remove_file(self.path().join(log));
            }
            self.child = run(&mut self.command, self.dir.path()).map_err(failed)?;
            if let Some(guard) = &mut self.guard.stdin {
                writeln!(guard, "{}", self.child.id()).map_err(failed)?;
            }
            match wait(self, name).await {
                Ok(()) => return Ok(()),
                // While the server was away, somebody's connection got its port.
                Err(_) if port_taken(&self.log()) && since.elapsed() < PORT_LIMIT => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(error.with_log(self.log())),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns true if the operating system accepts connections on every port. A connection of our own would be in the
    /// server's log.
    fn listens(&self) -> bool {
        const LISTEN: &str = "0A";
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        [Some(self.addr), self.tls_addr].into_iter().flatten().all(|addr| {
            let port = format!(":{:04X}", addr.port());
            sockets.lines().any(|line| {
                let mut columns = line.split_ascii_whitespace().skip(1);
                let (local, state) = (columns.next(), columns.nth(1));
                local.is_some_and(|local| local.ends_with(&port)) && state == Some(LISTEN)
            })
        })
    }

    fn read(&self, name: &str) -> String {
        fs::read(self.path().join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    pub(super) fn requests(&self) -> Vec<String> {
        let (name, request) = self.requests;
        self.read(name).lines().filter_map(request).map(str::to_owned).collect()
    }

    pub(super) fn log(&self) -> String {
        self.logs
            .iter()
            .map(|name| (name, self.read(name)))
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| format!("== {name} ==\n{text}"))
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.child.wait();
        let _ = self.guard.wait();
    }
}

/// [`ReadRequest`] for a log with nothing but requests.
pub(super) fn whole_line(line: &str) -> Option<&str> {
    Some(line)
}

/// Finds a program in `PATH`, or in Debian's folder, which is not in a plain user's `PATH`.
pub(super) fn find(program: &str, package: &str) -> Result<PathBuf, StartError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
        .ok_or_else(|| StartError::missing(program, package))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

/// Runs a program to its end, and returns its output.
pub(super) fn output(command: &mut Command, input: &str) -> Result<String, StartError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |e| StartError::io(format!("cannot run {name}"), e);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(StartError::new(format!("{name} ended with {}", output.status)).with_log(text)),
    }
}

/// The line of a password file for Digest.
pub(super) fn password_line_of_digest(user: &str, realm: &str, password: &str) -> String {
    format!(
        "{user}:{realm}:{}\n",
        crate::digest::hash("MD5", &[user, realm, password])
    )
}

/// One line of an Apache-style password file.
pub(super) fn password_line(user: &str, password: &str) -> Result<String, StartError> {
    if user.contains([':', '\n']) || password.contains('\n') {
        return Err(StartError::new(
            "a user has no colon, neither it nor a password a line break",
        ));
    }
    let openssl = find("openssl", "Debian package openssl")?;
    let hash = output(
        Command::new(openssl).args(["passwd", "-apr1", "-stdin"]),
        &format!("{password}\n"),
    )?;
    let hash = hash.lines().next().unwrap_or_default();
    if hash.starts_with("$apr1$") {
        Ok(format!("{user}:{hash}\n"))
    } else {
        Err(StartError::new("openssl did not hash the password"))
    }
}

/// A host as part of a regular expression, basic or extended.
pub(super) fn escape(host: &str) -> String {
    host.chars()
        .flat_map(|c| {
            let backslash = matches!(c, '.' | '[' | ']').then_some('\\');
            backslash.into_iter().chain([c])
        })
        .collect()
}
