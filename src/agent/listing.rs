//! The list of all identities, ready-made as one reply.

use std::sync::Arc;

use indexmap::IndexMap;

use super::clock::Clocks;
use super::environment::Environment;
use super::keyring::Added;
use crate::ssh::message;

/// ssh refuses a longer list, and then has no keys at all (`MAX_AGENT_IDENTITIES`).
pub(super) const MAX_IDENTITIES: usize = 2048;
/// ssh refuses a longer list, counted in bytes; some room is left for environments.
pub(super) const MAX_LIST: usize = 250 * 1024;

/// A key or certificate, and its comment.
type Entry<'a> = (&'a [u8], &'a [u8]);

/// A ready-made answer, good from one second to another.
pub(super) struct Listing {
    /// The whole reply frame.
    pub(super) frame: Arc<[u8]>,
    /// How many identities would have made the list too long for ssh.
    pub(super) left_out: usize,
    from: u64,
    until: u64,
}

impl Listing {
    /// Certificates first: the environments', in the order of the configuration, then those that
    /// were added; then added keys; the environments' bare keys last.
    pub(super) fn of(
        environments: &[Environment],
        added: &IndexMap<Vec<u8>, Added>,
        now: &Clocks,
    ) -> Self {
        let seconds = now.seconds();
        let comments: Vec<String> = environments.iter().map(|one| one.comment(now)).collect();
        let ours = || environments.iter().zip(&comments);
        let mut entries: Vec<Entry<'_>> = Vec::new();
        for (environment, comment) in ours() {
            if let Some(certificate) = environment.certificate(now) {
                entries.push((certificate.blob(), comment.as_bytes()));
            }
        }
        for (blob, added) in added {
            if added.certificate.as_ref().is_some_and(|held| held.is_valid_at(seconds)) {
                entries.push((blob, &added.comment));
            }
        }
        for (blob, added) in added {
            if added.certificate.is_none() {
                entries.push((blob, &added.comment));
            }
        }
        let first_bare = entries.len();
        for (environment, comment) in ours() {
            if let Some(key) = &environment.key {
                let blob = key.public_key().blob();
                let known = added.contains_key(blob)
                    || entries.iter().skip(first_bare).any(|(listed, _)| *listed == blob);
                if !known {
                    entries.push((blob, comment.as_bytes()));
                }
            }
        }
        let left_out = fit(&mut entries);
        let mut frame = Vec::with_capacity(64 + entries.iter().map(entry_length).sum::<usize>());
        message::write_identities(&mut frame, &entries);
        let (from, until) = window(environments, added, seconds);
        Self { frame: frame.into(), left_out, from, until }
    }

    /// Whether the answer still holds, in seconds since 1970.
    pub(super) fn holds_at(&self, seconds: u64) -> bool {
        (self.from..self.until).contains(&seconds)
    }
}

/// From when to when nothing in the list begins or ends.
fn window(
    environments: &[Environment],
    added: &IndexMap<Vec<u8>, Added>,
    seconds: u64,
) -> (u64, u64) {
    let ours = environments.iter().filter_map(Environment::window);
    let added = added.values().filter_map(|added| {
        added.certificate.as_ref().map(|held| (held.valid_after, held.valid_before))
    });
    let (mut from, mut until) = (0, u64::MAX);
    for edge in ours.chain(added).flat_map(|(after, before)| [after, before]) {
        if edge <= seconds {
            from = from.max(edge);
        } else {
            until = until.min(edge);
        }
    }
    (from, until)
}

/// Takes out what would make the list too long for ssh, from its end, and says how many: bare keys
/// stand there.
fn fit(entries: &mut Vec<Entry<'_>>) -> usize {
    let before = entries.len();
    let mut length: usize = entries.iter().map(entry_length).sum();
    while entries.len() > MAX_IDENTITIES || length > MAX_LIST {
        let Some(last) = entries.pop() else { break };
        length -= entry_length(&last);
    }
    before - entries.len()
}

/// How long an entry is on the wire.
pub(super) fn entry_length((blob, comment): &Entry<'_>) -> usize {
    8 + blob.len() + comment.len()
}
