//! MIT Kerberos (Debian `krb5-kdc`, `krb5-admin-server`, `krb5-user`): a realm with a KDC of its own.
//!
//! - Listens on TCP only.
//! - The realm is `LAB.TEST`; hosts below `test` belong to it. Host names are taken as they are, without DNS.
//! - Each principal has a keytab, which takes the place of a password. Everybody on this machine can read it, since a
//!   server that root starts changes to another user.

use super::StartError;
use super::process::{self, Plan, Running, Scratch};
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

const REALM: &str = "LAB.TEST";

/// A running KDC. Dropping it stops it, as with a [`RealProxy`](super::RealProxy).
#[derive(Debug)]
pub struct Kdc(Running);

impl Kdc {
    /// Starts a KDC that knows these principals of its realm: users (`alice`) and services (`HTTP/proxy.test`).
    ///
    /// # Errors
    ///
    /// If one of the programs is missing, the database cannot be made, or the KDC does not come up.
    pub async fn start(principals: &[&str]) -> Result<Self, StartError> {
        let program = process::find("krb5kdc", "Debian package krb5-kdc")?;
        let running = process::start("krb5kdc", false, |dir, addr, _| {
            let realm = Realm::at(dir.path());
            fs::create_dir(dir.path().join("caches")).map_err(|e| StartError::io("cannot make a folder", e))?;
            dir.write("krb5.conf", &client_config(addr))?;
            dir.write("kdc.conf", &kdc_config(dir, addr))?;
            realm.fill(principals)?;
            let mut command = realm.command(&program);
            command.arg("-n");
            Ok(Plan {
                command,
                ready: ("commencing operation", 1),
                shared_memory: None,
                logs: &["log/kdc.log", "log/console.log"],
                requests: ("log/kdc.log", process::whole_line),
            })
        })
        .await?;
        Ok(Self(running))
    }

    /// Returns the files of its realm.
    pub fn realm(&self) -> Realm {
        Realm::at(self.0.path())
    }

    /// Returns everything it logged.
    pub fn log(&self) -> String {
        self.0.log()
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// The files of a KDC's realm. They exist as long as the KDC.
#[derive(Clone, Debug)]
pub struct Realm(PathBuf);

impl Realm {
    /// The realm whose files are in this folder.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the configuration of its clients and services, for the variable `KRB5_CONFIG`.
    pub fn config(&self) -> PathBuf {
        self.0.join("krb5.conf")
    }

    /// Returns a principal's full name: `alice@LAB.TEST`.
    pub fn principal(&self, name: &str) -> String {
        format!("{name}@{REALM}")
    }

    /// Returns the file with a principal's key.
    pub fn keytab(&self, name: &str) -> PathBuf {
        self.0.join(format!("{}.keytab", name.replace('/', ".")))
    }

    /// Returns the name of a new collection of ticket caches, for the variable `KRB5CCNAME`.
    pub fn collection(&self) -> String {
        format!("DIR:{}", self.0.join("caches").display())
    }

    /// Gets a user's ticket and puts it into a cache of its own in the collection, where it is the default.
    ///
    /// # Errors
    ///
    /// If `kinit` is missing, or the KDC does not issue a ticket.
    pub fn log_in(&self, user: &str) -> Result<(), StartError> {
        self.log_in_for(user, Duration::from_secs(3600))
    }

    /// Does the same with a ticket that expires after so many seconds.
    ///
    /// # Errors
    ///
    /// As [`log_in`](Self::log_in).
    pub fn log_in_for(&self, user: &str, lifetime: Duration) -> Result<(), StartError> {
        let mut kinit = self.command(&process::find("kinit", "Debian package krb5-user")?);
        kinit.arg("-l").arg(format!("{}s", lifetime.as_secs()));
        kinit.arg("-k").arg("-t").arg(self.keytab(user)).arg(user);
        process::output(kinit.env("KRB5CCNAME", self.collection()), "").map(drop)
    }

    /// Tells its clients that the KDC is at another address.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn move_kdc(&self, addr: SocketAddr) -> std::io::Result<()> {
        fs::write(self.config(), client_config(addr))
    }

    /// Returns a program that works in this realm.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("KRB5_CONFIG", self.config())
            .env("KRB5_KDC_PROFILE", self.0.join("kdc.conf"));
        command
    }

    /// Makes the database of the realm, and a keytab for each principal.
    fn fill(&self, principals: &[&str]) -> Result<(), StartError> {
        let create = process::find("kdb5_util", "Debian package krb5-kdc")?;
        process::output(self.command(&create).args(["create", "-s", "-P", "master"]), "")?;
        let kadmin = process::find("kadmin.local", "Debian package krb5-admin-server")?;
        let questions: String = principals
            .iter()
            .map(|name| {
                let keytab = self.keytab(name);
                format!(
                    "addprinc -randkey {name}\nktadd -k {keytab} {name}\n",
                    keytab = keytab.display()
                )
            })
            .collect();
        // It succeeds even if it refuses.
        let answers = process::output(&mut self.command(&kadmin), &questions)?;
        for name in principals {
            fs::set_permissions(self.keytab(name), Permissions::from_mode(0o644))
                .map_err(|e| StartError::io(format!("no key for {name}"), e).with_log(answers.clone()))?;
        }
        Ok(())
    }
}

/// TCP first: the free port was found for TCP.
fn client_config(addr: SocketAddr) -> String {
    format!(
        "[libdefaults]
default_realm = {REALM}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{REALM} = {{
    kdc = {addr}
}}
[domain_realm]
.test = {REALM}
"
    )
}

fn kdc_config(dir: &Scratch, addr: SocketAddr) -> String {
    let dir = dir.path().display();
    format!(
        r#"[kdcdefaults]
kdc_listen = ""
kdc_tcp_listen = {addr}
[realms]
{REALM} = {{
    database_name = {dir}/principal
    key_stash_file = {dir}/stash
}}
[logging]
kdc = FILE:{dir}/log/kdc.log
default = FILE:{dir}/log/admin.log
"#
    )
}
