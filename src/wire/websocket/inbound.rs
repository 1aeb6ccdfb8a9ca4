//! The order of frames (RFC 6455, section 5.4), and what their bytes are.

use super::{Failure, FrameHeader, Mask, Opcode, Part, Utf8Check};

/// What comes in on a connection: which frame may come next, where it ends, and what its bytes are unmasked.
///
/// Its owner reads bytes from wherever they come, gives them to [`Inbound::begin`] until that has a header, and then to
/// [`Inbound::payload`] until [`Inbound::left`] is 0.
#[derive(Debug, Default)]
pub struct Inbound {
    message: Option<Message>,
    frame: Option<Frame>,
}

#[derive(Debug)]
enum Message {
    Text(Utf8Check),
    Binary,
}

#[derive(Debug)]
struct Frame {
    header: FrameHeader,
    mask: Mask,
    left: u64,
}

impl Inbound {
    /// The header of the next frame, if `bytes` has all of it, and how many bytes it takes. Not before the payload of the
    /// frame before it was taken.
    ///
    /// # Errors
    /// [`Failure`] says which rule is broken.
    pub fn begin(&mut self, bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, Failure> {
        let Some((header, mask, taken)) = FrameHeader::decode(bytes)? else { return Ok(None) };
        match (header.opcode, &self.message) {
            (Opcode::Continuation, None) => return Err(Failure::NothingToContinue),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Failure::MessageInMessage),
            (Opcode::Text, None) => self.message = Some(Message::Text(Utf8Check::default())),
            (Opcode::Binary, None) => self.message = Some(Message::Binary),
            _ => {}
        }
        self.frame = Some(Frame { header, mask, left: header.length });
        self.end_if_done()?;
        Ok(Some((header, taken)))
    }

    /// How many bytes of the current frame are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.frame.as_ref().map_or(0, |frame| frame.left)
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub fn is_in_message(&self) -> bool {
        self.message.is_some()
    }

    /// How many bytes of the message that began are still to come, where that is known: its last frame has begun, or ended.
    #[must_use]
    pub fn left_of_message(&self) -> Option<u64> {
        if !self.is_in_message() {
            return Some(0);
        }
        let frame = self.frame.as_ref().filter(|frame| !frame.header.opcode.is_control());
        frame.filter(|frame| frame.header.part == Part::Last).map(|frame| frame.left)
    }

    /// Unmasks the next bytes of the current frame, at most [`Inbound::left`], and checks them if they are text.
    ///
    /// # Errors
    /// [`Failure::NotUtf8`].
    pub fn payload(&mut self, bytes: &mut [u8]) -> Result<(), Failure> {
        let Some(frame) = &mut self.frame else { return Ok(()) };
        frame.mask.apply(bytes);
        frame.left = frame.left.saturating_sub(bytes.len() as u64);
        if let (Some(Message::Text(check)), false) = (&mut self.message, frame.header.opcode.is_control()) {
            check.push(bytes)?;
        }
        self.end_if_done()
    }

    fn end_if_done(&mut self) -> Result<(), Failure> {
        let Some(Frame { header, left: 0, .. }) = self.frame else { return Ok(()) };
        self.frame = None;
        if header.opcode.is_control() || header.part == Part::MoreFollow {
            return Ok(());
        }
        match self.message.take() {
            Some(Message::Text(check)) => check.finish(),
            _ => Ok(()),
        }
    }
}
