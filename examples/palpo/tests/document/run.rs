//! Runs the built program.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};
use tower_outbound_proxy_lab::program;

use crate::{app::connections::Connection, lab::assert_no_password};

/// The line of a settings file that switches validation off.
pub const SWITCH: &str = "use_insecure_ssl_client_just_for_testing_do_not_use: true\n";

/// The time limit of a run. A longer run hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// The program's exit code and output, none of which contains the password.
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// Returns the row of a type. At least two blanks separate its columns.
    #[track_caller]
    pub fn row(&self, connection: Connection) -> Vec<&str> {
        let begins = |line: &&str| line.trim_start().starts_with(&format!("{} ", connection.name()));
        let row = self.stdout.lines().find(begins);
        let row = row.unwrap_or_else(|| panic!("no {connection:?} in:\n{}{}", self.stdout, self.stderr));
        row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
    }

    #[track_caller]
    pub fn assert_right(&self) {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{}", self.stdout);
        assert!(!self.stdout.contains("WRONG"), "{}", self.stdout);
    }

    /// Asserts that the program ended with this code and wrote these texts to standard error.
    #[track_caller]
    pub fn assert_failed(&self, code: i32, said: &[&str]) {
        let Self { stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "{stdout}{stderr}");
        for text in said {
            assert!(stderr.contains(text), "{text} in:\n{stderr}");
        }
    }
}

/// Runs the program with only these variables.
pub async fn palpo(args: &[&str], variables: &[(&str, &str)]) -> Done {
    let mut command = Command::from(program(env!("CARGO_BIN_EXE_palpo")));
    command
        .envs(variables.iter().copied())
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let Output { status, stdout, stderr } = timeout(LIMIT, command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let done = Done {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    };
    assert_no_password(&done.stdout);
    assert_no_password(&done.stderr);
    done
}
