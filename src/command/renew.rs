//! `evercert renew`

use super::client;
use crate::cli::Renew;
use crate::report::{self, Exit, Failure};
use crate::status::{Answer, Question};

pub(super) fn run(arguments: Renew) -> Result<Exit, Failure> {
    let Renew { environments, new_key } = arguments;
    let Answer::Renewed(renewed) = client::ask(&Question::Renew { environments, new_key })? else {
        return Err(Failure::new("the agent answered another question"));
    };
    if renewed.is_empty() {
        report::note("there are no environments to renew");
    }
    let mut exit = Exit::Done;
    for one in renewed {
        match one.outcome {
            Ok(certificate) => report::print(&format!(
                "{}: serial {}, valid until {}\n",
                one.name, certificate.serial, certificate.valid_before
            )),
            Err(trouble) => {
                let message = format!("{}: {}", one.name, trouble.message);
                report::error(&message, trouble.hint.as_deref());
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}
