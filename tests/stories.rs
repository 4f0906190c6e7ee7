//! The stories, one file each, told to the real ssh, sshd, ssh-add and ssh-keygen from outside. One
//! program, so that the harness is linked once and the compiler sees what of it nobody uses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a test says what went wrong by failing"
)]

mod support;

mod added_keys;
mod ca_in_agent;
mod clients;
mod clock;
mod command_line;
mod configuration;
mod configuration_file;
mod crash;
mod cut_off;
mod failure;
mod first_run;
mod hardening;
mod idle;
mod key_files;
mod keys;
mod library_client;
mod log;
mod login;
mod options;
mod protocol;
mod reload;
mod renewal;
mod runtime_directory;
mod service_manager;
mod session_bind;
mod status;
