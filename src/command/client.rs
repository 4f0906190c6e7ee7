//! Asks the running agent, over its control socket.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::places;
use crate::report::{Exit, Failure};
use crate::status::{Answer, MAX_LINE, Question, Snapshot};

/// A renewal ends sooner, well or not.
const PATIENCE: Duration = Duration::from_secs(120);

/// Puts one question.
///
/// # Errors
/// [`Exit::NotRunning`] where nobody listens; otherwise what the agent refused, or how the
/// conversation broke off.
pub(super) fn ask(question: &Question) -> Result<Answer, Failure> {
    let socket = places(None)?.control_socket();
    let answer = UnixStream::connect(&socket).and_then(|stream| converse(stream, question));
    match answer {
        Ok(Answer::Refused(trouble)) => Err(Failure::new(trouble.message).advice(trouble.hint)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(no_answer(&socket, &error)),
    }
}

/// Asks how everything is.
///
/// # Errors
/// As [`ask`].
pub(super) fn snapshot() -> Result<Snapshot, Failure> {
    match ask(&Question::Status)? {
        Answer::Status(snapshot) => Ok(*snapshot),
        _ => Err(Failure::new("the agent answered another question")),
    }
}

fn converse(mut stream: UnixStream, question: &Question) -> std::io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_LINE)).read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&answer)
        .map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
}

fn no_answer(socket: &Path, error: &std::io::Error) -> Failure {
    let shown = socket.display();
    let not_running = |message: String| {
        let failure = Failure::new(message).hint("start one: evercert agent");
        Failure { exit: Exit::NotRunning, ..failure }
    };
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
            not_running(format!("no agent is running (nobody listens on {shown})"))
        }
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            not_running(format!("the agent on {shown} ended before it answered"))
        }
        ErrorKind::InvalidInput => Failure::new(format!("cannot ask on {shown}: {error}"))
            .hint("choose a shorter EVERCERT_RUNTIME_DIR"),
        _ => Failure::new(format!("no answer from the agent on {shown}: {error}"))
            .hint("if it is of another version, restart it"),
    }
}
