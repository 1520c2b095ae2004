//! Squid (Debian `squid-openssl`; plain `squid` has no TLS port).
//!
//! - Refuses with a page and `X-Squid-Error: ERR_… n`.
//! - Answers CONNECT with `HTTP/1.1 200 Connection established`; a connection
//!   stays usable after a 407 or 403, but is closed after a 503.
//! - Its TLS port takes part in no ALPN.
//! - Resolves the names it is given in a hosts file of its own, and
//!   `localhost`. All others it asks of `127.0.0.1`, so no question leaves the
//!   machine.
//! - Offers Negotiate before Basic, if it has a realm of Kerberos. Its 200 has no token, so that a client cannot verify
//!   it (mutual authentication).
//! - Has room for a whole body (`client_request_buffer_max_size`): when its buffer is full, Squid 5.7 reads nothing, and
//!   can take that for the client's end.
//! - Forks its checkers of credentials into sessions of their own, which the process
//!   group does not reach; they end when their standard input closes.

use super::process::{self, Plan, Running, Scratch};
use super::{Nonces, RealProxy, Setup, StartError};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

const REALM: &str = "lab squid";

/// Debian's place first, then those of Fedora and of an own build.
const HELPERS: [&str; 3] = ["/usr/lib/squid", "/usr/lib64/squid", "/usr/local/squid/libexec"];

const PACKAGE: &str = "Debian package squid-openssl";

pub(super) async fn start(setup: &Setup) -> Result<RealProxy, StartError> {
    let program = process::find("squid", PACKAGE)?;
    let password = match setup.digest {
        None => process::password_line(&setup.user, &setup.password)?,
        Some(_) => process::password_line_of_digest(&setup.user, REALM, &setup.password),
    };

    let running: Running = process::start("squid", setup.tls.is_some(), |dir, addr, tls| {
        dir.write("passwd", &password)?;
        dir.write("hosts", &hosts(setup))?;
        dir.write_tls(setup)?;
        let config = dir.write("squid.conf", &config(setup, dir, &schemes(setup, dir)?, addr, tls))?;
        let service = format!("lab{}", addr.port());
        let mut command = Command::new(&program);
        command.args(["-N", "-n", &service, "-f"]).arg(config);
        if let Some((realm, _)) = &setup.kerberos {
            command.env("KRB5_CONFIG", realm.config());
        }
        Ok(Plan {
            command,
            ready: ("Accepting HTTP", 1 + usize::from(tls.is_some())),
            shared_memory: Some(format!("{service}-")),
            logs: &["log/access.log", "log/cache.log", "log/console.log"],
            requests: ("log/access.log", request),
        })
    })
    .await?;
    Ok(RealProxy {
        running,
        realm: REALM,
        root_pem: None,
        behind: None,
    })
}

/// Returns a line of the log, unless it is that of a connection that ended without a request.
fn request(line: &str) -> Option<&str> {
    (!line.starts_with("- error:transaction-end-before-headers ")).then_some(line)
}

fn helper(name: &str) -> Result<PathBuf, StartError> {
    let found = HELPERS
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists());
    found.ok_or_else(|| StartError::missing(name, PACKAGE))
}

/// Returns the settings of the schemes that it offers, strongest first.
fn schemes(setup: &Setup, dir: &Scratch) -> Result<String, StartError> {
    let mut text = String::new();
    if let Some((realm, service)) = &setup.kerberos {
        let (checker, keytab) = (helper("negotiate_kerberos_auth")?, realm.keytab(service));
        let service = realm.principal(service);
        let _ = writeln!(
            text,
            "auth_param negotiate program {} -k {} -s {service}
auth_param negotiate children 2 startup=1 idle=1",
            checker.display(),
            keytab.display()
        );
    }
    let (scheme, checker, option) = match setup.digest {
        None => ("basic", "basic_ncsa_auth", ""),
        Some(_) => ("digest", "digest_file_auth", " -c"),
    };
    let _ = writeln!(
        text,
        "auth_param {scheme} program {}{option} {}/passwd
auth_param {scheme} realm {REALM}
auth_param {scheme} children 2 startup=1 idle=1",
        helper(checker)?.display(),
        dir.path().display()
    );
    if setup.digest == Some(Nonces::Short) {
        text.push_str("auth_param digest nonce_max_count 2\n");
    }
    Ok(text)
}

fn hosts(setup: &Setup) -> String {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let denied = setup.deny.iter().map(|name| (name, loopback));
    let given = setup.allowed_hosts().map(|(name, ip)| (name, *ip));
    let mut text = String::from("127.0.0.1 localhost\n");
    for (name, ip) in given.chain(denied) {
        let _ = writeln!(text, "{ip} {name}");
    }
    text
}

fn config(setup: &Setup, dir: &Scratch, schemes: &str, addr: SocketAddr, tls: Option<SocketAddr>) -> String {
    let dir = dir.path().display();
    let mut text = format!("http_port {addr}\n");
    if let Some(addr) = tls {
        let _ = writeln!(text, "https_port {addr} tls-cert={dir}/tls.pem tls-key={dir}/tls.key");
    }
    let _ = write!(
        text,
        "visible_hostname localhost
hosts_file {dir}/hosts
dns_nameservers 127.0.0.1
dns_timeout 1 second
dns_retransmit_interval 1 second
strip_query_terms off
pid_filename {dir}/log/squid.pid
coredump_dir {dir}/log
cache_log {dir}/log/cache.log
logformat lab %rm %ru HTTP/%rv %>Hs %un %>p
access_log stdio:{dir}/log/access.log lab
cache deny all
workers 1
memory_cache_shared off
netdb_filename none
max_filedescriptors 4096
pinger_enable off
client_request_buffer_max_size 64 MB
{schemes}acl authed proxy_auth REQUIRED
http_access deny !authed
"
    );
    if !setup.deny.is_empty() {
        let denied = setup.deny.join(" ");
        // -n: an IP literal is not looked up to see whether it has such a name.
        let _ = writeln!(text, "acl denied dstdomain -n {denied}");
        text.push_str("http_access deny denied\n");
    }
    text.push_str("http_access allow all\n");
    text
}
