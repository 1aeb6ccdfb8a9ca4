//! Screens as golden text in `tests/screens/`: whoever changes what a person sees changes a file that can be looked at.
//! `HOSTDIR_UPDATE_SCREENS=1` writes them anew. Tests of the crate itself use it too, for what only they can draw.

use std::fs;
use std::path::Path;

/// The widths, in columns, at which every screen is kept.
pub const WIDTHS: [u16; 4] = [100, 60, 40, 24];

/// What one width shows, under its heading.
pub fn section(columns: u16, screen: &str) -> String {
    let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
    format!("== {columns} columns\n{}\n", lines.join("\n").trim_end())
}

/// Compares what is shown with the file of that name.
pub fn compare(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(format!("{name}.txt"));
    if std::env::var_os("HOSTDIR_UPDATE_SCREENS").is_some() {
        fs::write(&path, shown).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap();
    assert_eq!(shown, golden, "{} differs; HOSTDIR_UPDATE_SCREENS=1 writes it anew:\n{shown}", path.display());
}
