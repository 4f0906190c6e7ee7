//! The file as it is written: every field optional, every value with its place, unknown keys
//! refused.

use std::ops::Range;

use indexmap::IndexMap;
use serde::Deserialize;
use toml::Spanned;

use super::{Problem, nearest};

/// The file's top level.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) environments: IndexMap<Spanned<String>, Environment>,
}

/// `[environments.NAME]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Environment {
    pub(super) principals: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) lifetime: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) hosts: Option<Vec<Spanned<String>>>,
    pub(super) extensions: Option<Vec<Spanned<String>>>,
    pub(super) force_command: Option<Spanned<String>>,
    pub(super) source_address: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) verify_required: bool,
    pub(super) key_id: Option<Spanned<String>>,
    pub(super) renew_at: Option<Spanned<String>>,
    pub(super) wait: Option<Spanned<String>>,
    pub(super) max_lifetime: Option<Spanned<String>>,
    pub(super) ca: Option<Ca>,
}

/// `[environments.NAME.ca]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ca {
    pub(super) kind: Option<Spanned<String>>,
    pub(super) path: Option<Spanned<String>>,
    pub(super) socket: Option<Spanned<String>>,
    pub(super) public_key: Option<Spanned<String>>,
}

/// Reads the text, or says where and why not.
pub(super) fn read(text: &str) -> Result<File, Problem> {
    toml::from_str(text).map_err(|error| Problem {
        message: explain(error.message()),
        at: error.span().map(|Range { start, .. }| start),
    })
}

/// An unknown key is told with its nearest neighbour, or with what is known here.
fn explain(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        // In TOML's words, where the reader uses its own.
        let message = message.replace("expected a map", "expected a table");
        let message = message.replace("expected a sequence", "expected an array");
        return message.trim_end().replace('\n', "; ");
    };
    let mut quoted = rest.split('`').step_by(2);
    let wrong = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.filter(|name| !name.is_empty()).collect();
    match nearest(wrong, known.iter().copied()) {
        Some(name) => format!("unknown key `{wrong}`: did you mean `{name}`?"),
        None => format!("unknown key `{wrong}`: known here are {}", known.join(", ")),
    }
}
