//! evercert: an ssh-agent whose certificates never go stale. A map of the house, top floor first;
//! rooms use those below them (`docs/architecture.md`).

pub mod cli;
pub mod command;
pub mod process;
pub mod report;

pub mod agent;

pub mod issuer;
pub mod ledger;

pub mod signer;

pub mod destination;
pub mod profile;
pub mod status;

pub mod config;
pub mod ssh;
