//! A QR code as text, for whoever has a telephone and no keyboard.
//!
//! Owns the drawing: two modules a character, with the quiet zone that scanners need. The code itself is fast_qr's.

use crate::display::Size;
use fast_qr::qr::QRBuilder;
use fast_qr::{ECL, QRCode};

/// Light modules around the code; the standard (ISO/IEC 18004) wants four, scanners are content with two.
const QUIET: usize = 2;
/// Lines of the screen that must be left for what stands around it.
const OTHER_LINES: usize = 8;

/// How light and dark are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Black on white, whatever the terminal's own colours are.
    Colored,
    /// Light modules in the terminal's foreground colour: right on a dark background; on a light one the code is inverted,
    /// which most scanners read as well.
    Plain,
}

/// The code for `text` in half blocks; nothing if it does not fit on the screen.
pub(super) fn lines(text: &str, screen: Size, ink: Ink) -> Option<Vec<String>> {
    let code = QRBuilder::new(text).ecl(ECL::L).build().ok()?;
    let side = code.size + 2 * QUIET;
    let fits = side <= usize::from(screen.columns) && side.div_ceil(2) + OTHER_LINES <= usize::from(screen.rows);
    fits.then(|| (0..side).step_by(2).map(|row| line(&code, row, side, ink)).collect())
}

fn line(code: &QRCode, row: usize, side: usize, ink: Ink) -> String {
    let blocks: String = (0..side)
        .map(|column| match (is_light(code, row, column), is_light(code, row + 1, column)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        })
        .collect();
    match ink {
        Ink::Plain => blocks,
        // Bright white on black (ECMA-48, SGR, and its common extension by 90 to 97).
        Ink::Colored => format!("\x1b[97;40m{blocks}\x1b[0m"),
    }
}

/// Rows and columns count the quiet zone too.
fn is_light(code: &QRCode, row: usize, column: usize) -> bool {
    let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < code.size);
    match (inside(row), inside(column)) {
        (Some(row), Some(column)) => !code[row][column].value(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: Size = Size { columns: 80, rows: 30 };

    #[test]
    fn a_page_address_is_a_small_code_that_fits_a_terminal() {
        let lines = lines("http://192.168.1.20:9000/", SCREEN, Ink::Plain).unwrap();
        // Version 2: 25 modules, and the quiet zone on both sides.
        assert_eq!(lines.len(), 15);
        assert!(lines.iter().all(|line| line.chars().count() == 29));
        // The quiet zone, then the finder pattern in the corner: seven dark modules.
        assert!(lines[0].chars().all(|block| block == '█'));
        assert!(lines[1].starts_with("██ ▄▄▄▄▄ █"), "{}", lines[1]);
    }

    #[test]
    fn a_code_that_does_not_fit_is_left_out() {
        let text = "http://192.168.1.20:9000/";
        assert!(lines(text, Size { columns: 28, rows: 30 }, Ink::Plain).is_none());
        assert!(lines(text, Size { columns: 80, rows: 22 }, Ink::Plain).is_none());
    }
}
