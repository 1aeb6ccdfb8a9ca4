//! The media type of a file, by its name's ending.

/// What a file is of whose name tells nothing.
const UNKNOWN: &str = "application/octet-stream";

/// The media type of a file of that name; texts are taken for UTF-8.
pub(super) fn of(name: &[u8]) -> String {
    let guessed = guess(name);
    if guessed.starts_with("text/") { format!("{guessed}; charset=utf-8") } else { guessed.to_owned() }
}

/// The same without a word on how text is encoded.
pub(super) fn guess(name: &[u8]) -> &'static str {
    let ending = name.iter().rposition(|byte| *byte == b'.').and_then(|dot| name.get(dot..)?.get(1..));
    let ending = ending.and_then(|ending| str::from_utf8(ending).ok());
    ending.and_then(|ending| mime_guess::from_ext(ending).first_raw()).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_tells_the_kind() {
        let cases: [(&[u8], &str); 8] = [
            (b"a.txt", "text/plain; charset=utf-8"),
            (b"a.HTML", "text/html; charset=utf-8"),
            (b"a.tar.gz", "application/gzip"),
            (b"beach.jpg", "image/jpeg"),
            (b"film.mkv", "video/x-matroska"),
            (b"Makefile", UNKNOWN),
            (b"a.\xff", UNKNOWN),
            (b"a.", UNKNOWN),
        ];
        for (name, kind) in cases {
            assert_eq!(of(name), kind, "{}", name.escape_ascii());
        }
    }
}
