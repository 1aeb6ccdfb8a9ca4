//! The client's side of hostdir.

pub mod terminal;
