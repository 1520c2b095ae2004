//! The processes: each is bound to a core and answers each line of its input with a line.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::BoxError;

/// One core for clients, another for the server.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) client: usize,
    pub(crate) server: usize,
}

impl Cores {
    /// Returns the first and the last core that this process may run on.
    pub(crate) fn find() -> Result<Self, BoxError> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        match (cores.next(), cores.next_back()) {
            (Some(client), Some(server)) => Ok(Self { client, server }),
            _ => Err("it needs two cores".into()),
        }
    }
}

/// A process that answers a line with a line.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program in another role.
    pub(crate) fn this(arguments: &[&str], root: &Path, core: usize) -> Result<Self, BoxError> {
        let mut command = Command::new(env::current_exe()?);
        command.args(arguments).arg(root);
        Self::start(command, core)
    }

    pub(crate) fn start(mut command: Command, core: usize) -> Result<Self, BoxError> {
        let allowed = sched_getaffinity(None)?;
        let mut one = CpuSet::new();
        one.set(core);
        // The child inherits it.
        sched_setaffinity(None, &one)?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        sched_setaffinity(None, &allowed)?;
        let mut child = child?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the process has no pipes".into());
        };
        Ok(Self {
            child,
            input: Some(input),
            output: BufReader::new(output),
        })
    }

    pub(crate) fn ask(&mut self, line: &str) -> io::Result<String> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{line}")?;
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err(io::Error::other("the process ended")),
            _ => Ok(line),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends with its input.
        self.input = None;
        let _ = self.child.wait();
    }
}

/// A Go program, built with the Go that the variable `GO` names, or else with the one on the path.
pub(crate) struct Go {
    path: PathBuf,
    /// The toolchain's version, such as `go1.27.3`.
    pub(crate) version: String,
}

impl Go {
    /// Builds the program of this name, which is a folder of `go`.
    pub(crate) fn build(name: &str, directory: &Path) -> io::Result<Self> {
        let go = env::var_os("GO").unwrap_or("go".into());
        let version = output(Command::new(&go).args(["env", "GOVERSION"]))?;
        let path = directory.join(format!("go-{name}"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go").join(name);
        output(
            Command::new(&go)
                .args(["build", "-o"])
                .arg(&path)
                .arg(source.join("main.go"))
                .envs([("GO111MODULE", "off"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local")]),
        )?;
        Ok(Self { path, version })
    }

    pub(crate) fn start(&self, root: &Path, core: usize) -> Result<Process, BoxError> {
        let mut command = Command::new(&self.path);
        command.arg(root);
        Process::start(command, core)
    }
}

/// Runs a program and returns its output.
pub(crate) fn output(command: &mut Command) -> io::Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(io::Error::other(format!("{command:?}: {}", output.status))),
    }
}

/// Returns a directory beside this program, for the files of a run.
pub(crate) fn directory() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let directory = program.parent().unwrap_or(Path::new(".")).join("client-files");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}
