//! The codec of `hostdir::wire`, held to `docs/PROTOCOL.md` from outside: golden bytes, every truncation point, one
//! byte at a time, what is skipped, what is refused, and properties over arbitrary input.

mod cbor;
mod enumeration;
mod extension;
mod golden;
mod malformed;
mod message;
mod properties;
mod samples;
mod stream;
