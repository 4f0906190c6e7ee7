//! evercert beside the stock ssh-agent, in one run: `cargo bench`.
//!
//! Rounds alternate between the two, and what counts is the ratio within a round, so that other
//! load on the machine cancels out. CPU is the agent's own, over all its threads. Linux only: it
//! reads /proc.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a bench fails by panicking and prints its table"
)]

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "a bench uses a part of the harness")]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::wire::{REQUEST_IDENTITIES, Wire};

const ROUNDS: usize = 8;
/// CPU is told in hundredths of a second: a slice must be many of them.
const SLICE: Duration = Duration::from_millis(300);
const RSA_SHA2_512: u32 = 4;
const IDLE: Duration = Duration::from_secs(10);
/// After this, helper threads have ended.
const SETTLE: Duration = Duration::from_secs(12);

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::Builder::new().prefix("eb").tempdir().expect("a temporary folder");
    let keys = Keys::make(folder.path());
    println!("ratios evercert / ssh-agent, median of {ROUNDS} rounds: below 1 is better");
    println!("{:<36} {:>7} {:>7} {:>12}", "", "p50", "cpu", "evercert p50");
    startup(folder.path());
    for pairs in [0, 5, 50, 400] {
        let loaded: Vec<&Path> = match pairs {
            0 => vec![keys.rsa.as_path()],
            pairs => keys.many[..pairs].iter().map(PathBuf::as_path).collect(),
        };
        let (stock, ours) = pair(folder.path(), &loaded);
        let count = ours.list().len();
        cell(&format!("list of {count}"), &stock, &ours, |wire| {
            wire.ask(&[REQUEST_IDENTITIES]);
        });
    }
    let loaded = [&keys.many[0], &keys.ecdsa, &keys.rsa].map(PathBuf::as_path);
    let (stock, ours) = pair(folder.path(), &loaded);
    for entry in ours.list() {
        let kind = String::from_utf8_lossy(&entry.blob[4..]).into_owned();
        let kind = kind.split_once('\0').map_or(kind.as_str(), |(name, _)| name);
        cell(&format!("sign {kind}"), &stock, &ours, |wire| {
            wire.sign(&entry.blob, &[7; 300], RSA_SHA2_512).expect("a signature");
        });
    }
    idle(&ours);
}

/// Key files with certificates, made once for a run.
struct Keys {
    many: Vec<PathBuf>,
    ecdsa: PathBuf,
    rsa: PathBuf,
}

impl Keys {
    fn make(folder: &Path) -> Self {
        let made = |name: &str, kind: &[&str]| {
            let path = folder.join(name);
            keygen(&[kind, &["-N", "", "-f", path.to_str().expect("UTF-8")]].concat());
            path
        };
        let ca = made("ca", &["-t", "ed25519"]);
        let certified = |name: &str, kind: &[&str]| {
            let path = made(name, kind);
            let (ca, key) = (ca.to_str().expect("UTF-8"), path.to_str().expect("UTF-8"));
            keygen(&["-s", ca, "-I", "bench", "-n", "me", "-V", "+1d", &format!("{key}.pub")]);
            path
        };
        Self {
            many: (0..400).map(|n| certified(&format!("k{n}"), &["-t", "ed25519"])).collect(),
            ecdsa: certified("ecdsa", &["-t", "ecdsa", "-b", "256"]),
            rsa: made("rsa", &["-t", "rsa", "-b", "3072"]),
        }
    }
}

fn keygen(arguments: &[&str]) {
    let done = Command::new("ssh-keygen").arg("-q").args(arguments).status();
    assert!(done.expect("ssh-keygen is installed").success());
}

/// A running agent, ended when dropped.
struct Contender {
    child: Child,
    socket: PathBuf,
}

impl Contender {
    fn start(command: &mut Command, socket: PathBuf) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("an agent");
        let contender = Self { child, socket };
        while std::os::unix::net::UnixStream::connect(&contender.socket).is_err() {
            std::thread::yield_now();
        }
        contender
    }

    fn stock(folder: &Path) -> Self {
        let socket = folder.join("stock.sock");
        let _ = std::fs::remove_file(&socket);
        Self::start(Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket), socket)
    }

    fn ours(folder: &Path) -> Self {
        let socket = folder.join("ours.sock");
        let empty = folder.join("empty.toml");
        std::fs::write(&empty, "").expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_evercert"));
        command.args(["agent", "--config"]).arg(&empty).arg("--socket").arg(&socket);
        command.env("HOME", folder).env("EVERCERT_RUNTIME_DIR", folder.join("run"));
        Self::start(&mut command, socket)
    }

    fn load(&self, keys: &[&Path]) {
        let mut add = Command::new("ssh-add");
        let done = add.arg("-q").args(keys).env("SSH_AUTH_SOCK", &self.socket).status();
        assert!(done.expect("ssh-add is installed").success());
    }

    fn list(&self) -> Vec<support::wire::Entry> {
        Wire::connect(&self.socket).list()
    }

    /// CPU time over all threads so far, in clock ticks of a hundredth of a second.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("Linux");
        let fields: Vec<&str> =
            stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        fields[11..=12].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum()
    }

    fn voluntary_switches(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("Linux");
        tasks
            .map(|task| {
                let status = task.expect("a thread").path().join("status");
                let status = std::fs::read_to_string(status).unwrap_or_default();
                let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
                line.map_or(0, |count| count.trim().parse().expect("a number"))
            })
            .sum()
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pair(folder: &Path, keys: &[&Path]) -> (Contender, Contender) {
    let (stock, ours) = (Contender::stock(folder), Contender::ours(folder));
    stock.load(keys);
    ours.load(keys);
    (stock, ours)
}

/// One figure of one agent in one round: median time, and CPU for each request.
fn measure(agent: &Contender, request: &impl Fn(&mut Wire)) -> (f64, f64) {
    let mut wire = Wire::connect(&agent.socket);
    request(&mut wire);
    let (mut times, begun, cpu) = (Vec::new(), Instant::now(), agent.cpu());
    while begun.elapsed() < SLICE {
        let asked = Instant::now();
        request(&mut wire);
        times.push(asked.elapsed().as_secs_f64());
    }
    let each = (agent.cpu() - cpu) / times.len() as f64;
    (median(times), each)
}

fn cell(name: &str, stock: &Contender, ours: &Contender, request: impl Fn(&mut Wire)) {
    let (mut p50, mut cpu, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (theirs, own) = if round % 2 == 0 {
            let theirs = measure(stock, &request);
            (theirs, measure(ours, &request))
        } else {
            let own = measure(ours, &request);
            (measure(stock, &request), own)
        };
        p50.push(own.0 / theirs.0);
        cpu.push(own.1 / theirs.1);
        seen.push(own.0);
    }
    let seen = median(seen) * 1e6;
    println!("{name:<36} {:>7.2} {:>7.2} {seen:>9.1} us", median(p50), median(cpu));
}

/// From the start of the program to its first answered list.
fn startup(folder: &Path) {
    let timed = |start: &dyn Fn() -> Contender| {
        let begun = Instant::now();
        let agent = start();
        agent.list();
        begun.elapsed().as_secs_f64()
    };
    let (mut ratios, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..2 * ROUNDS {
        let theirs = timed(&|| Contender::stock(folder));
        let own = timed(&|| Contender::ours(folder));
        ratios.push(own / theirs);
        seen.push(own);
    }
    let seen = median(seen) * 1e6;
    println!("{:<36} {:>7.2} {:>7} {seen:>9.1} us", "start to first list", median(ratios), "-");
}

fn idle(ours: &Contender) {
    std::thread::sleep(SETTLE);
    let before = ours.voluntary_switches();
    std::thread::sleep(IDLE);
    let switches = ours.voluntary_switches() - before;
    println!("{:<36} {switches} voluntary context switches", "idle for 10 s");
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
