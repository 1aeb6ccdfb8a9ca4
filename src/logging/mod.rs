//! The two logs.
pub mod logfmt;
