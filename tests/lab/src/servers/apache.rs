//! Apache httpd 2.4 (Debian `apache2`) as a forward proxy.
//!
//! - Answers CONNECT with `HTTP/1.0 200 Connection Established`. A connection
//!   stays usable after a 407 or 403, but is closed after a 503.
//! - Resolves the names that the system resolves. It has no hosts file of its own, so `mod_rewrite` inserts the
//!   addresses of [`Setup::hosts`] before it connects. Origins still see the name, in the client's `Host`
//!   (`ProxyPreserveHost`).
//! - Refuses denied hosts after authentication: they require the user `:`, who cannot exist.
//!   `AuthzSendForbiddenOnFailure` is set because the default would be another 407.
//! - The number of worker threads limits the tunnels at a time: 64 here.
//! - Over HTTP/2, it serves 6 tunnels of one connection at a time, and the others wait. It doubles that, ten times a
//!   second at most and up to its workers for HTTP/2 ([`Setup::streams`]), as requests come to a good end.
//! - Over HTTP/2, it does not tell the client that the target has closed a tunnel, until the client has closed as well.
//! - Over HTTP/2, it forwards requests only if `H2ProxyRequests` is on, and otherwise takes them for its own site's.

use super::process::{self, Plan, Running, Scratch};
use super::{Http2, Nonces, RealProxy, Setup, StartError};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

const REALM: &str = "lab apache";

/// Debian's place first, then those of Fedora and Arch.
const MODULE_DIRS: [&str; 3] = [
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/lib/httpd/modules",
];

const MODULES: [&str; 14] = [
    "mpm_event",
    "unixd",
    "authn_core",
    "authn_file",
    "auth_basic",
    "auth_digest",
    "authz_core",
    "authz_user",
    "proxy",
    "proxy_http",
    "proxy_connect",
    "rewrite",
    "ssl",
    "http2",
];

pub(super) async fn start(setup: &Setup) -> Result<RealProxy, StartError> {
    let package = "Debian package apache2";
    let program = process::find("apache2", package)?;
    let modules = MODULE_DIRS
        .into_iter()
        .map(Path::new)
        .find(|dir| dir.join("mod_proxy_connect.so").exists())
        .ok_or_else(|| StartError::missing("mod_proxy_connect.so", package))?;
    let password = match setup.digest {
        None => process::password_line(&setup.user, &setup.password)?,
        Some(_) => process::password_line_of_digest(&setup.user, REALM, &setup.password),
    };

    let running: Running = process::start("apache", setup.tls.is_some(), |dir, addr, tls| {
        dir.write("passwd", &password)?;
        dir.write("proxy.conf", &proxy(setup, dir))?;
        dir.write_tls(setup)?;
        let config = dir.write("httpd.conf", &server(setup, dir, modules, addr, tls))?;
        let mut command = Command::new(&program);
        command.args(["-DFOREGROUND", "-f"]).arg(config);
        Ok(Plan {
            command,
            ready: ("resuming normal operations", 1),
            shared_memory: None,
            logs: &["log/access.log", "log/error.log", "log/console.log"],
            requests: ("log/access.log", process::whole_line),
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

fn server(setup: &Setup, dir: &Scratch, modules: &Path, addr: SocketAddr, tls: Option<SocketAddr>) -> String {
    let mut text = String::new();
    for module in MODULES {
        // Some are built in, depending on who built it.
        let file = modules.join(format!("mod_{module}.so"));
        if file.exists() {
            let _ = writeln!(text, "LoadModule {module}_module {}", file.display());
        }
    }
    if dir.is_root {
        text.push_str("User www-data\nGroup www-data\n");
    }
    let dir = dir.path().display();
    let _ = write!(
        text,
        r#"ServerRoot "{dir}"
DefaultRuntimeDir "{dir}/log"
PidFile "{dir}/log/httpd.pid"
Mutex pthread
ServerName localhost
ErrorLog "{dir}/log/error.log"
LogLevel notice
LogFormat "%r %>s %u %{{remote}}p" lab
CustomLog "{dir}/log/access.log" lab
ServerLimit 1
StartServers 1
ThreadLimit 64
ThreadsPerChild 64
MinSpareThreads 1
MaxRequestWorkers 64
KeepAlive On
MaxKeepAliveRequests 0
Listen {addr}
<VirtualHost {addr}>
Include "{dir}/proxy.conf"
</VirtualHost>
"#
    );
    if let Some(streams) = setup.streams {
        let _ = writeln!(text, "H2MaxWorkers {streams}\nH2MaxSessionStreams {streams}");
    }
    if let Some(addr) = tls {
        let (protocols, forwarding) = match setup.http2 {
            Http2::Off => ("http/1.1", "off"),
            Http2::WithoutForwarding => ("h2 http/1.1", "off"),
            Http2::On => ("h2 http/1.1", "on"),
        };
        let _ = write!(
            text,
            r#"SSLSessionCache none
Listen {addr}
<VirtualHost {addr}>
SSLEngine on
SSLCertificateFile "{dir}/tls.pem"
SSLCertificateKeyFile "{dir}/tls.key"
Protocols {protocols}
H2ProxyRequests {forwarding}
Include "{dir}/proxy.conf"
</VirtualHost>
"#
        );
    }
    text
}

/// Returns the configuration that both virtual hosts share.
fn proxy(setup: &Setup, dir: &Scratch) -> String {
    let dir = dir.path().display();
    let scheme = match setup.digest {
        None => "AuthType Basic",
        Some(Nonces::Lasting) => "AuthType Digest",
        Some(Nonces::Short) => "AuthType Digest\nAuthDigestNonceLifetime 1",
    };
    let auth = format!(
        r#"{scheme}
AuthName "{REALM}"
AuthUserFile "{dir}/passwd"
"#
    );
    let mut text = format!(
        r#"ProxyRequests On
ProxyPreserveHost On
AllowCONNECT 1-65535
<Proxy "*">
{auth}Require valid-user
</Proxy>
RewriteEngine On
RewriteOptions AllowAnyURI
"#
    );
    for (name, ip) in setup.allowed_hosts() {
        let name = process::escape(name);
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let _ = writeln!(
            text,
            r#"RewriteRule "^proxy:(http://)?{name}(:[0-9]+)?(/[^?]*)?(\?.*)?$" "$1{ip}$2$3" [P,NC,NE]"#
        );
    }
    for name in &setup.deny {
        let escaped = process::escape(name);
        let _ = write!(
            text,
            r#"<ProxyMatch "(?i)^(http://)?{escaped}([:/?]|$)">
{auth}AuthzSendForbiddenOnFailure On
Require user :
ErrorDocument 403 "this proxy does not serve {name}"
</ProxyMatch>
"#
        );
    }
    text
}
