//! Accepts clients: checks whose they are, and lets no trouble with one harm another.

use std::convert::Infallible;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

/// How long to leave `accept` alone after it failed, for descriptors to come free.
const PAUSE: Duration = Duration::from_millis(100);
/// How long clients get to take their last answers.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves each client of our own uid, or root, in a task of its own, until told to stop; then
/// waits for those that are being answered.
pub(super) async fn serve<F>(
    listener: UnixListener,
    mut stopping: watch::Receiver<bool>,
    client: impl Fn(UnixStream, watch::Receiver<bool>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (alive, mut gone) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, _)) if is_ours(&stream) => {
                let (served, alive) = (client(stream, stopping.clone()), alive.clone());
                tokio::spawn(async move {
                    served.await;
                    drop(alive);
                });
            }
            Ok(_) => tracing::warn!("closed a connection of another user"),
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(alive);
    // Whoever is still not gone does not read what it asked for.
    let _ = tokio::time::timeout(DRAIN, gone.recv()).await;
}

fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}
