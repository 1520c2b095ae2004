//! Go's `net/http`, in a process that decides on request: see `go/main.go`.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{Answer, Batch};

/// The built program.
pub(crate) struct Program {
    path: PathBuf,
    /// The toolchain's version, such as `go1.27.3`.
    pub(crate) version: String,
}

impl Program {
    /// Builds it with the Go that the variable `GO` names, or else with the one on the path.
    pub(crate) fn build() -> io::Result<Self> {
        let go = env::var_os("GO").unwrap_or("go".into());
        let run = |command: &mut Command| {
            let output = command.stderr(Stdio::inherit()).output()?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
                false => Err(io::Error::other(format!("{command:?}: {}", output.status))),
            }
        };
        let version = run(Command::new(&go).args(["env", "GOVERSION"]))?;
        let beside = env::current_exe()?;
        let directory = beside.parent().unwrap_or(Path::new(".")).join("go");
        fs::create_dir_all(&directory)?;
        let path = directory.join("decision");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go/main.go");
        run(Command::new(&go)
            .args(["build", "-o"])
            .arg(&path)
            .arg(source)
            .env("GO111MODULE", "off"))?;
        Ok(Self { path, version })
    }

    /// Starts a process with this list.
    pub(crate) fn start(&self, list: &str) -> io::Result<Process> {
        let mut child = Command::new(&self.path)
            // The list goes through its input: a long one does not fit into the environment of a new process.
            .env_remove("no_proxy")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the process has no pipes"));
        };
        writeln!(input, "{list}")?;
        Ok(Process {
            child,
            input: Some(input),
            output: BufReader::new(output),
        })
    }
}

/// A process that decides with one list.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn run(&mut self, count: u64, url: &str) -> io::Result<Batch> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{count} {url}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let not_understood = || io::Error::other(format!("unexpected answer of the Go program: `{}`", line.trim()));
        let mut words = line.split_whitespace();
        let mut number = || words.next()?.parse::<u64>().ok();
        let (nanos, allocations) = number().zip(number()).ok_or_else(not_understood)?;
        let answer = match words.next() {
            Some("direct") => Answer::Direct,
            Some("proxy") => Answer::Proxy,
            _ => return Err(not_understood()),
        };
        Ok(Batch {
            nanos,
            allocations,
            answer,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends with its input.
        self.input = None;
        let _ = self.child.wait();
    }
}
