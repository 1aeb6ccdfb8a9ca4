//! What a terminal can show, and text fitted to it: capabilities, signs, columns, and figures as a person reads them.
//!
//! Owns the facts about the terminal and the layout of a line. Draws nothing and asks nothing: that is done by the
//! client's menu and bars, and by the report on the logs.

pub mod capability;
pub mod charset;
#[cfg(test)]
#[path = "../../tests/common/golden.rs"]
pub(crate) mod golden;
pub mod quantity;
pub mod width;

pub use capability::{ColorChoice, Size, Terminal};
pub use charset::Charset;
