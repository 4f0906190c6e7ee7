//! A private sshd on a free port of the loopback, and logins to it by the real ssh.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Home, Outcome};

/// What the server believes.
pub(crate) enum Trust<'a> {
    /// `TrustedUserCAKeys`: public keys, one a line.
    Authorities(&'a str),
    /// The user's `authorized_keys`.
    AuthorizedKeys(&'a str),
}

/// What the server shows of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostKey {
    Plain,
    Certified,
}

/// A running sshd. Killed when dropped; its log is shown when the test has failed.
pub(crate) struct Sshd {
    home: Home,
    child: Child,
    port: u16,
}

impl Sshd {
    /// A server that trusts these CA public keys, by `TrustedUserCAKeys`.
    pub(crate) fn trusting(authorities: &str) -> Self {
        Self::start(&Trust::Authorities(authorities), HostKey::Plain, |_| {})
    }

    /// A server with this `authorized_keys`.
    pub(crate) fn authorizing(authorized_keys: &str) -> Self {
        Self::start(&Trust::AuthorizedKeys(authorized_keys), HostKey::Plain, |_| {})
    }

    /// A server with its environment adjusted.
    pub(crate) fn start(
        trust: &Trust<'_>,
        host_key: HostKey,
        adjust: impl Fn(&mut Command),
    ) -> Self {
        let home = Home::new();
        home.keygen("host", &["-t", "ed25519"]);
        home.keygen("host_ca", &["-t", "ed25519"]);
        home.certify(&home.join("host_ca"), &home.join("host"), &["-h", "-n", "127.0.0.1"]);
        let mut settings = configuration(&home, trust);
        if host_key == HostKey::Certified {
            let certificate = home.join("host-cert.pub");
            settings.push_str(&format!("HostCertificate {}\n", certificate.display()));
        }
        fs::write(home.join("config"), settings).expect("a file");
        if super::is_root() {
            fs::create_dir_all("/run/sshd").expect("root can make it");
        }
        // Another program may take the free port before sshd does: try a few.
        for _ in 0..5 {
            let port = free_port();
            let mut child = launch(&home, port, &adjust);
            if listens(&home, &mut child, port) {
                return Self { home, child, port };
            }
        }
        panic!("sshd does not start: {}", log(&home));
    }

    /// The `ssh` command line up to the remote command: plain, with the agent at `socket` and no
    /// key file. `-v`, so that its offers can be counted.
    pub(crate) fn ssh(&self, client: &Home, socket: &Path) -> Command {
        let known = client.join(format!("known_hosts.{}", self.port));
        let mut command = client.command("ssh");
        command
            .env("SSH_AUTH_SOCK", socket)
            .args(["-v", "-F", "none", "-T", "-p", &self.port.to_string()])
            .args(["-o", "BatchMode=yes"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "IdentityFile=none"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .arg(format!("{}@127.0.0.1", super::login_name()));
        command
    }

    /// Logs in once, without any choice of a key.
    pub(crate) fn login(&self, client: &Home, socket: &Path) -> Outcome {
        Outcome::of(self.ssh(client, socket).arg("echo in"))
    }

    /// Trusts this server's host CA, so that it shows its host certificate to `client`.
    pub(crate) fn introduce(&self, client: &Home) {
        let ca = fs::read_to_string(self.home.join("host_ca.pub")).expect("a file");
        let known = client.join(format!("known_hosts.{}", self.port));
        fs::write(known, format!("@cert-authority * {ca}")).expect("a file");
    }

    pub(crate) fn log(&self) -> String {
        log(&self.home)
    }

    /// The log's lines about logins that succeeded.
    pub(crate) fn accepted(&self) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| line.contains("Accepted publickey"))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("-- sshd's log --\n{}", self.log());
        }
    }
}

/// How many keys an `ssh -v` offered.
pub(crate) fn offers(login: &Outcome) -> usize {
    login.stderr.matches("Offering public key:").count()
}

/// Can whoever runs the tests log in at all? An account without a shell cannot.
pub(crate) fn has_shell() -> bool {
    nix::unistd::User::from_uid(nix::unistd::getuid())
        .ok()
        .flatten()
        .is_some_and(|user| !user.shell.ends_with("nologin") && !user.shell.ends_with("false"))
}

/// Skips the test where no login is possible.
macro_rules! needs_login {
    () => {
        $crate::support::needs!("ssh", "ssh-add", "ssh-keygen", "sshd");
        if !$crate::support::sshd::has_shell() {
            $crate::support::skip!("this account has no shell to log in to");
        }
    };
}
pub(crate) use needs_login;

fn configuration(home: &Home, trust: &Trust<'_>) -> String {
    let (authorities, keys) = match trust {
        Trust::Authorities(keys) => (*keys, ""),
        Trust::AuthorizedKeys(keys) => ("", *keys),
    };
    fs::write(home.join("authorities"), authorities).expect("a file");
    fs::write(home.join("authorized_keys"), keys).expect("a file");
    let place = home.path().display();
    format!(
        "ListenAddress 127.0.0.1\n\
         HostKey {place}/host\n\
         TrustedUserCAKeys {place}/authorities\n\
         AuthorizedKeysFile {place}/authorized_keys\n\
         StrictModes no\n\
         UsePAM no\n\
         PidFile none\n\
         PermitRootLogin yes\n\
         MaxStartups 100\n\
         LogLevel VERBOSE\n"
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("the loopback has a free port")
        .port()
}

fn launch(home: &Home, port: u16, adjust: &impl Fn(&mut Command)) -> Child {
    // sshd starts itself again for each connection and insists on an absolute path.
    let mut command = home.command(super::program("sshd").expect("the test needs sshd"));
    adjust(&mut command);
    command
        .args(["-D", "-p", &port.to_string(), "-f"])
        .arg(home.join("config"))
        .arg("-E")
        .arg(home.join("log"))
        .stdin(Stdio::null())
        .spawn()
        .expect("sshd can be started")
}

/// Waits until this very sshd listens; false if it ended instead.
fn listens(home: &Home, child: &mut Child, port: u16) -> bool {
    super::eventually("sshd's start", || {
        if child.try_wait().expect("a child of ours").is_some() {
            return Some(false);
        }
        log(home).contains(&format!("Server listening on 127.0.0.1 port {port}.")).then_some(true)
    })
}

fn log(home: &Home) -> String {
    let path: PathBuf = home.join("log");
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
