//! Appending whole lines to something that may fail at any byte.
//!
//! Owns one promise: what a failed write leaves behind never becomes part of the next line.

use std::fs::File;
use std::io::{self, Write};

/// What lines are appended to. A file, or in tests something that fails where a file rarely does.
pub(super) trait Medium {
    /// Appends some of `bytes`, and says how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// How many bytes it holds.
    fn length(&self) -> io::Result<u64>;
    /// Cuts it back to `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

impl Medium for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// How a medium ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a line end, or it is empty.
    Clean,
    /// In the middle of a line.
    Torn,
}

/// What came of an [`append`].
#[derive(Debug)]
pub(super) struct Appended {
    /// Bytes of the lines that are there whole.
    pub(super) whole: usize,
    /// Why the others are not.
    pub(super) error: Option<io::Error>,
}

/// Appends `lines`, each with its line end, with one write where the system allows. `end` is how the medium ends,
/// before and after.
pub(super) fn append(medium: &mut impl Medium, end: &mut End, lines: &str) -> Appended {
    let before = medium.length();
    let (prefix, bytes) = match *end {
        End::Clean => (0, std::borrow::Cow::Borrowed(lines)),
        End::Torn => (1, std::borrow::Cow::Owned(format!("\n{lines}"))),
    };
    let (written, error) = write_all(medium, bytes.as_bytes());
    let kept = bytes.as_bytes()[..written].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    if kept < written {
        *end = cut_back(medium, before, written, kept);
    } else if written > 0 {
        *end = End::Clean;
    }
    Appended { whole: kept.saturating_sub(prefix), error }
}

fn write_all(medium: &mut impl Medium, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match medium.write(&bytes[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Removes the begun line, unless another process has appended since: then what stands at the end is not ours to cut.
fn cut_back(medium: &mut impl Medium, before: io::Result<u64>, written: usize, kept: usize) -> End {
    let Ok(before) = before else { return End::Torn };
    let ours = medium.length().is_ok_and(|length| length == before + written as u64);
    if ours && medium.truncate(before + kept as u64).is_ok() { End::Clean } else { End::Torn }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with `room` bytes left.
    struct Disk {
        content: Vec<u8>,
        room: usize,
        can_truncate: bool,
        writes: usize,
    }

    impl Disk {
        fn with_room(room: usize) -> Self {
            Self { content: Vec::new(), room, can_truncate: true, writes: 0 }
        }
    }

    impl Medium for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.content.extend_from_slice(&bytes[..count]);
            self.room -= count;
            Ok(count)
        }

        fn length(&self) -> io::Result<u64> {
            Ok(self.content.len() as u64)
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            if !self.can_truncate {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.content.truncate(usize::try_from(length).unwrap());
            Ok(())
        }
    }

    #[test]
    fn many_lines_are_one_write() {
        let mut disk = Disk::with_room(100);
        let appended = append(&mut disk, &mut End::Clean, "one\ntwo\nthree\n");
        assert_eq!((appended.whole, disk.writes), (14, 1));
    }

    #[test]
    fn a_line_that_was_cut_short_is_taken_back_wherever_the_disk_ends() {
        let lines = "one\ntwo\nthree\n";
        for room in 0..lines.len() {
            let (mut disk, mut end) = (Disk::with_room(room), End::Clean);
            let appended = append(&mut disk, &mut end, lines);
            assert!(appended.error.is_some(), "{room}");
            assert_eq!(disk.content, &lines.as_bytes()[..appended.whole], "{room}");
            assert_eq!(end, End::Clean);
            disk.room = 100;
            append(&mut disk, &mut end, "next\n");
            assert_eq!(String::from_utf8(disk.content).unwrap(), format!("{}next\n", &lines[..appended.whole]));
        }
    }

    #[test]
    fn a_torn_line_that_cannot_be_taken_back_is_ended_before_the_next_one() {
        let lines = "one\ntwo\nthree\n";
        for room in 0..lines.len() {
            let (mut disk, mut end) = (Disk { can_truncate: false, ..Disk::with_room(room) }, End::Clean);
            let appended = append(&mut disk, &mut end, lines);
            for more in 0..6 {
                disk.room = more;
                append(&mut disk, &mut end, "again\n");
            }
            disk.room = 100;
            assert_eq!(append(&mut disk, &mut end, "next\n").whole, 5);
            let content = String::from_utf8(disk.content).unwrap();
            assert!(content.starts_with(&lines[..appended.whole]), "{content:?}");
            assert!(content.ends_with("\nnext\n") || content == "next\n", "{content:?}");
        }
    }

    #[test]
    fn what_another_process_appended_is_not_cut() {
        struct Shared(Disk);
        impl Medium for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let result = self.0.write(bytes);
                if result.is_ok() {
                    self.0.content.extend_from_slice(b"theirs\n");
                }
                result
            }
            fn length(&self) -> io::Result<u64> {
                self.0.length()
            }
            fn truncate(&mut self, length: u64) -> io::Result<()> {
                self.0.truncate(length)
            }
        }
        let (mut disk, mut end) = (Shared(Disk::with_room(6)), End::Clean);
        assert_eq!(append(&mut disk, &mut end, "one\ntwo\n").whole, 4);
        assert_eq!((end, disk.0.content.as_slice()), (End::Torn, b"one\ntwtheirs\n".as_slice()));
    }
}
