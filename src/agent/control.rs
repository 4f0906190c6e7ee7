//! Answers `status` and `renew` on a socket of its own: the agent's may be forwarded to other
//! hosts, this one never is. One JSON line each way.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::{Agent, listener};
use crate::status::{Answer, MAX_LINE, Question, Trouble};

/// A client of ours sends its question at once.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn serve(
    agent: Arc<Agent>,
    socket: UnixListener,
    stopping: watch::Receiver<bool>,
) {
    listener::serve(socket, stopping, move |stream, _| client(Arc::clone(&agent), stream)).await;
}

async fn client(agent: Arc<Agent>, mut stream: UnixStream) {
    if let Err(error) = converse(&agent, &mut stream).await {
        tracing::debug!("control connection ended: {error}");
    }
}

async fn converse(agent: &Agent, stream: &mut UnixStream) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = Vec::new();
    let mut reader = BufReader::new(reader.take(MAX_LINE));
    tokio::time::timeout(PATIENCE, reader.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice(&line) {
        Ok(question) => answer(agent, question).await,
        Err(error) => Answer::Refused(Trouble {
            message: format!("the running agent does not understand the question: {error}"),
            hint: Some("is it of another version? restart it".to_owned()),
        }),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

async fn answer(agent: &Agent, question: Question) -> Answer {
    match question {
        Question::Status => Answer::Status(Box::new(agent.snapshot())),
        Question::Renew { environments, new_key } => {
            match agent.renew(&environments, new_key).await {
                Ok(renewed) => Answer::Renewed(renewed),
                Err(trouble) => Answer::Refused(trouble),
            }
        }
    }
}
