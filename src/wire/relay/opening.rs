//! Relay A: what stands before the file in a message, as it comes in.

use super::RelayRefusal;

/// Most bytes before the base64, or of a subscription.
pub const MAX_OPENING: usize = 8192;

const SUBSCRIBE: &[u8] = b"subscribe:";
const MESSAGE: &[u8] = b"message:";
const SEPARATOR: u8 = b':';
const MAX_MIME: usize = 255;

/// What a client wants with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// To be sent what arrives in this topic; the topic is not checked.
    Subscribe(Vec<u8>),
    /// To send a file, whose base64 follows.
    Message(Message),
}

/// Where a file is to go, as the client says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Not checked, and not empty.
    pub topic: Vec<u8>,
    /// Text without control characters, of at most 255 bytes; it may be empty.
    pub mime: String,
    /// One component, not checked further.
    pub name: Vec<u8>,
}

/// The beginning of a message, up to the base64.
#[derive(Debug, Default)]
pub struct Opening {
    bytes: Vec<u8>,
}

impl Opening {
    /// Takes the next bytes of the message. When they bring the last separator: the message, and how many of `bytes`
    /// stand before the base64.
    ///
    /// # Errors
    /// [`RelayRefusal`], as soon as that is known.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<(Message, usize)>, RelayRefusal> {
        let before = self.bytes.len();
        let room = MAX_OPENING.saturating_add(1).saturating_sub(before);
        self.bytes.extend(bytes.iter().take(room));
        if let Some((message, taken)) = self.message()? {
            return Ok(Some((message, taken.saturating_sub(before))));
        }
        if self.bytes.len() > MAX_OPENING { Err(RelayRefusal::LongOpening) } else { Ok(None) }
    }

    /// The message ends here, without base64.
    ///
    /// # Errors
    /// [`RelayRefusal`] unless it is a subscription.
    pub fn finish(self) -> Result<Opened, RelayRefusal> {
        match self.bytes.strip_prefix(SUBSCRIBE) {
            Some([]) => Err(RelayRefusal::NoTopic),
            Some(topic) => Ok(Opened::Subscribe(topic.to_vec())),
            None => Err(RelayRefusal::Unknown),
        }
    }

    /// The message that a file follows, and where its opening ends.
    fn message(&self) -> Result<Option<(Message, usize)>, RelayRefusal> {
        let Some(fields) = self.bytes.strip_prefix(MESSAGE) else {
            let may_become = |start: &[u8]| start.starts_with(&self.bytes) || self.bytes.starts_with(start);
            let is_known = may_become(MESSAGE) || may_become(SUBSCRIBE);
            return if is_known { Ok(None) } else { Err(RelayRefusal::Unknown) };
        };
        let mut parts = fields.splitn(4, |byte| *byte == SEPARATOR);
        let (Some(topic), Some(mime), Some(name), Some(base64)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        if topic.is_empty() {
            return Err(RelayRefusal::NoTopic);
        }
        if name.is_empty() || name.contains(&b'/') {
            return Err(RelayRefusal::NameIsAPath);
        }
        let message = Message { topic: topic.to_vec(), mime: parse_mime(mime)?, name: name.to_vec() };
        Ok(Some((message, self.bytes.len().saturating_sub(base64.len()))))
    }
}

fn parse_mime(mime: &[u8]) -> Result<String, RelayRefusal> {
    let text = std::str::from_utf8(mime).ok().filter(|text| text.len() <= MAX_MIME);
    let text = text.filter(|text| !text.chars().any(char::is_control));
    text.map(str::to_owned).ok_or(RelayRefusal::BadMime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pushes the pieces; what came of it, with what was left of the piece that ended the opening.
    fn open<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Opened, Vec<u8>), RelayRefusal> {
        let mut opening = Opening::default();
        let mut pieces = pieces.into_iter();
        while let Some(piece) = pieces.next() {
            if let Some((message, taken)) = opening.push(piece)? {
                let rest: Vec<u8> = piece[taken..].iter().chain(pieces.flatten()).copied().collect();
                return Ok((Opened::Message(message), rest));
            }
        }
        opening.finish().map(|opened| (opened, Vec::new()))
    }

    fn message(topic: &str, mime: &str, name: &str) -> Opened {
        Opened::Message(Message { topic: topic.into(), mime: mime.into(), name: name.into() })
    }

    #[test]
    fn subscriptions_and_messages_are_told_apart() {
        let subscribe = Opened::Subscribe(b"chat:room".to_vec());
        assert_eq!(open([&b"subscribe:chat:room"[..]]), Ok((subscribe, Vec::new())));
        let text = "message:a/b:text/plain; charset=utf-8:año.txt:aGk=";
        let expected = message("a/b", "text/plain; charset=utf-8", "año.txt");
        assert_eq!(open([text.as_bytes()]), Ok((expected.clone(), b"aGk=".to_vec())));
        let one_by_one = text.as_bytes().chunks(1);
        assert_eq!(open(one_by_one), Ok((expected, b"aGk=".to_vec())));
        assert_eq!(open([&b"message:t::n:"[..]]), Ok((message("t", "", "n"), Vec::new())));
    }

    #[test]
    fn each_rule_refuses() {
        let cases: [(&[u8], RelayRefusal); 13] = [
            (b"", RelayRefusal::Unknown),
            (b"hello", RelayRefusal::Unknown),
            (b"Subscribe:x", RelayRefusal::Unknown),
            (b"subscribe", RelayRefusal::Unknown),
            (b"subscribe:", RelayRefusal::NoTopic),
            (b"message:t:m:n", RelayRefusal::Unknown),
            (b"message::m:n:", RelayRefusal::NoTopic),
            (b"message:t:m::", RelayRefusal::NameIsAPath),
            (b"message:t:m:a/b:", RelayRefusal::NameIsAPath),
            (b"message:t:a\nb:n:", RelayRefusal::BadMime),
            (b"message:t:\xc2\x85:n:", RelayRefusal::BadMime),
            (b"message:t:\xff:n:", RelayRefusal::BadMime),
            (b"sub\xff", RelayRefusal::Unknown),
        ];
        for (text, refusal) in cases {
            assert_eq!(open([text]), Err(refusal), "{}", text.escape_ascii());
        }
        let long = ["message:t:".as_bytes(), &[b'm'; 256], b":n:"].concat();
        assert_eq!(open([&long[..]]), Err(RelayRefusal::BadMime));
    }

    #[test]
    fn an_opening_has_a_limit_to_the_byte() {
        let of_length = |length: usize| {
            let start = b"message:t:m:";
            [&start[..], &vec![b'n'; length - start.len() - 1], b":"].concat()
        };
        assert!(open([&of_length(MAX_OPENING)[..]]).is_ok());
        assert_eq!(open([&of_length(MAX_OPENING + 2)[..]]), Err(RelayRefusal::LongOpening));
        let subscribe = [b"subscribe:".to_vec(), vec![b't'; MAX_OPENING]].concat();
        assert_eq!(open([&subscribe[..]]), Err(RelayRefusal::LongOpening));
    }

    proptest! {
        #[test]
        fn any_cuts_give_what_the_whole_gives(
            text in prop_oneof![any::<Vec<u8>>(), "(message|subscribe):[a:/é]{0,12}".prop_map(String::into_bytes)],
            size in 1..9_usize,
        ) {
            prop_assert_eq!(open(text.chunks(size)), open([&text[..]]));
        }
    }
}
