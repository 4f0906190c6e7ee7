//! evercert: an ssh-agent whose certificates never go stale. A map of the house, top floor first;
//! rooms use those below them (`docs/architecture.md`).

pub mod ssh;
pub mod config;
pub mod destination;
pub mod profile;
pub mod status;
pub mod signer;
pub mod ledger;
pub mod issuer;
pub mod agent;
