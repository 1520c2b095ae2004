//! Each example runs through the lab's proxy and through a real Squid: it exits with 0 and shows no password.

use std::{
    env,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::process::Command;
use tower_outbound_proxy_lab::program;

/// Far longer than any example takes.
const PATIENCE: Duration = Duration::from_secs(60);

macro_rules! examples {
    ($($name:ident: $requests:literal),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            for arguments in [&[][..], &["--squid"]] {
                run(stringify!($name), arguments, $requests).await;
            }
        }
    )*};
}

// Each with the number of different requests that its proxy sees.
examples! {
    aws_s3: 1,
    kube: 1,
    metrics: 2,
    octocrab: 1,
    opentelemetry: 1,
    redis: 1,
    reqwest: 2,
    tonic_balanced: 2,
    websocket: 2,
}

async fn run(name: &str, arguments: &[&str], requests: usize) {
    let Output { status, stdout, stderr } = output(name, arguments).await;
    let shown = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    assert!(status.success(), "{name} {arguments:?}: {status}\n{shown}");
    let seen = shown.matches("the proxy saw: ").count();
    assert_eq!(seen, requests, "{name} {arguments:?}\n{shown}");
    assert!(
        !shown.contains("sesame"),
        "{name} {arguments:?} shows the password\n{shown}"
    );
}

async fn output(name: &str, arguments: &[&str]) -> Output {
    let test = env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap().join("examples");
    let mut command = Command::from(program(folder.join(name)));
    command
        .args(arguments)
        .env("PATH", env::var_os("PATH").unwrap())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(output) => output.unwrap_or_else(|error| panic!("{name} cannot be run: {error}")),
        Err(_) => panic!("{name} {arguments:?} has not ended within {PATIENCE:?}"),
    }
}
