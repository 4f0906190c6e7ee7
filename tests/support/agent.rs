//! The agent under test, running in a home of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::process::Signal;
use serde_json::Value;

use super::wire::{Entry, Wire};
use super::{Certificate, Home, Outcome};

/// A running `evercert agent`. Killed when dropped; its log is shown when the test has failed.
pub(crate) struct Agent<'home> {
    home: &'home Home,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    socket: PathBuf,
}

impl<'home> Agent<'home> {
    /// Starts the agent and waits for its line.
    pub(crate) fn start(home: &'home Home) -> Self {
        Self::start_with(home, |_| {})
    }

    /// Starts the agent, with the command line or environment adjusted, and waits for its line.
    pub(crate) fn start_with(home: &'home Home, adjust: impl FnOnce(&mut Command)) -> Self {
        let mut agent = Self::launch(home, adjust);
        let line = super::eventually("the agent's line", || {
            if let Some(status) = agent.child.try_wait().expect("a child of ours") {
                panic!("the agent did not start: {status}");
            }
            Some(agent.stdout()).filter(|said| said.ends_with('\n'))
        });
        agent.socket = socket_in(&line);
        agent
    }

    /// Starts the agent and waits for nothing. Its socket is taken to be the usual one. Where
    /// `adjust` sends stdout or stderr elsewhere, the log is not shown.
    pub(crate) fn launch(home: &'home Home, adjust: impl FnOnce(&mut Command)) -> Self {
        let stdout = super::home::with_suffix(&home.join("agent"), ".out");
        let stderr = super::home::with_suffix(&home.join("agent"), ".err");
        let mut command = home.evercert(&["agent"]);
        command
            .stdin(std::process::Stdio::null())
            .stdout(File::create(&stdout).expect("a file"))
            .stderr(File::create(&stderr).expect("a file"));
        adjust(&mut command);
        let child = command.spawn().expect("the agent can be started");
        Self { home, child, stdout, stderr, socket: home.socket() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    pub(crate) fn wire(&self) -> Wire {
        Wire::connect(&self.socket)
    }

    pub(crate) fn list(&self) -> Vec<Entry> {
        self.wire().list()
    }

    /// The first certificate of an environment, and its blob.
    #[track_caller]
    pub(crate) fn certificate(&self, environment: &str) -> (Certificate, Vec<u8>) {
        self.find_certificate(environment)
            .unwrap_or_else(|| panic!("no certificate of {environment} is listed"))
    }

    pub(crate) fn find_certificate(&self, environment: &str) -> Option<(Certificate, Vec<u8>)> {
        self.list().into_iter().find_map(|entry| {
            let comment = entry.comment();
            let ours = comment.split(':').next() == Some(environment);
            Some((entry.certificate().filter(|_| ours)?, entry.blob))
        })
    }

    /// A program that talks to this agent.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = self.home.command(program);
        command.env("SSH_AUTH_SOCK", &self.socket);
        command
    }

    pub(crate) fn ssh_add(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.client("ssh-add").args(arguments))
    }

    /// What `evercert status --json` prints, whatever its exit status.
    pub(crate) fn status(&self) -> Value {
        let outcome = self.home.run(&["status", "--json"]);
        serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|error| panic!("status is no JSON: {error}; {outcome}"))
    }

    /// One environment's part of the status; null if it is not there.
    pub(crate) fn environment(&self, name: &str) -> Value {
        self.status()["environments"]
            .as_array()
            .expect("a list of environments")
            .iter()
            .find(|environment| environment["name"] == name)
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// Waits until one environment's part of the status is as wanted.
    pub(crate) fn wait_for(
        &self,
        name: &str,
        what: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let found = super::within_or(super::PATIENCE, || {
            last = self.environment(name);
            wanted(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("environment {name}: waited in vain for {what}: {last:#}"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        super::signal(self.pid(), signal);
    }

    /// Waits for the agent's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        super::eventually("the agent's end", || self.child.try_wait().expect("a child of ours"))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// SIGKILL, and the body buried.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("-- the agent's log --\n{}{}", self.stdout(), self.stderr());
        }
    }
}

/// The path in the agent's one line, which must be exactly as promised.
fn socket_in(line: &str) -> PathBuf {
    line.strip_prefix("SSH_AUTH_SOCK=")
        .and_then(|rest| rest.strip_suffix("; export SSH_AUTH_SOCK;\n"))
        .map(PathBuf::from)
        .unwrap_or_else(|| panic!("not the promised line: {line:?}"))
}
