//! Formats only: keys, signatures, certificates and agent messages as bytes.
//!
//! Nothing here knows of files, sockets, tasks or the clock.

pub mod certificate;
pub mod key;
pub mod message;
pub mod private;
pub mod signature;
pub mod wire;
