//! Keeps every environment's certificate fresh: one loop that sleeps until the earliest due time,
//! and one task for each renewal on its way. Retries and back-off are here and nowhere else.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::Agent;
use super::clock::{Clocks, JumpWatch, timestamp};
use super::keyring::{Done, Job};
use crate::profile;
use crate::signer::{self, Problem, Signer};

/// The longest a renewal may take, key generation included.
const DEADLINE: Duration = Duration::from_secs(30);
/// Nothing is due: look again when told.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Runs for as long as the agent does.
pub(super) async fn run(agent: Arc<Agent>, mut jumps: JumpWatch) {
    loop {
        let (jobs, next) = agent.keyring().take_due(&Clocks::read());
        for job in jobs {
            tokio::spawn(renew(Arc::clone(&agent), job));
        }
        tokio::select! {
            () = tokio::time::sleep(next.unwrap_or(FOREVER)) => {}
            () = agent.due.notified() => {}
            jumped = jumps.jumped() => if let Err(error) = jumped {
                tracing::warn!("cannot watch the clock: {error}");
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
        }
    }
}

async fn renew(agent: Arc<Agent>, job: Job) {
    let job = Arc::new(job);
    // In a task of its own, so that a panic in an issuer is an error like any other.
    let work = tokio::spawn(issue(Arc::clone(&agent), Arc::clone(&job)));
    let abort = work.abort_handle();
    let done = match tokio::time::timeout(DEADLINE, work).await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => Err(lost(panic)),
        Err(_) => {
            abort.abort();
            Err(lost(format_args!("no certificate after {} s", DEADLINE.as_secs())))
        }
    };
    let name = &job.settings.name;
    match &done {
        Ok((_, certificate)) => tracing::info!(
            "{name}: certificate {} valid until {}",
            certificate.serial,
            timestamp(certificate.valid_before)
        ),
        Err(error) => tracing::warn!("{name}: no new certificate: {error}"),
    }
    let counts = agent.keyring().finish(&job, done, &Clocks::read());
    if !counts {
        tracing::debug!("{name}: changed meanwhile, the result is dropped");
    }
    agent.settle();
    agent.due.notify_one();
}

/// One attempt: a key, a request, a certificate, and its judgement.
async fn issue(agent: Arc<Agent>, job: Arc<Job>) -> Done {
    let key = match &job.key {
        Some(key) => Arc::clone(key),
        None => make_key(&agent, &job).await?,
    };
    let request = profile::request(&job.settings, key.public_key().clone(), &agent.facts.requester);
    let certificate = job.issuer.issue(&request).await?;
    profile::accept(&certificate, &request, job.issuer.ca(), Clocks::read().seconds())
        .map_err(Problem::passing)?;
    Ok((key, Arc::new(certificate)))
}

/// A key from its file, or a new one. Whatever lies in that file by now, it is never a CA's key.
async fn make_key(agent: &Agent, job: &Arc<Job>) -> Result<Arc<dyn Signer>, Problem> {
    let settings = Arc::clone(&job.settings);
    let key = spawn_blocking(move || signer::session_key(&settings.key)).await.map_err(lost)??;
    if agent.keyring().has_ca(key.public_key()) {
        return Err(Problem::passing("its key is the CA key of an environment"));
    }
    agent.keyring().adopt(job, &key);
    Ok(key)
}

/// A renewal that panicked, or took too long.
fn lost(reason: impl Display) -> Problem {
    Problem::passing(format_args!("the renewal broke off: {reason}"))
}
