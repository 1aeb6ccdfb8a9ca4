//! WebSocket, purely: the server's side of RFC 6455, without subprotocols and extensions.
//!
//! Owns frames, masking, the rules of messages and of closing, and the handshake's arithmetic. Must not know how bytes
//! travel: [`Inbound`] is given what came in and says what it means. A message is never held whole, because the relays'
//! have hundreds of MiB.

mod close;
mod failure;
mod frame;
mod handshake;
mod inbound;
mod mask;
mod utf8;

pub use close::{Close, CloseCode};
pub use failure::Failure;
pub use frame::{FrameHeader, MAX_CONTROL_PAYLOAD, MAX_FRAME_HEADER, MessageKind, Opcode, Part};
pub use handshake::{WEBSOCKET_VERSION, accept};
pub use inbound::Inbound;
pub use mask::Mask;
pub use utf8::Utf8Check;
