//! The picker as lines of text.
//!
//! Owns the layout for every width. Pure: a model, a size and the time in, lines out; whoever prints adds the colours.

use std::time::SystemTime;

use super::marks::Marked;
use super::model::Model;
use super::tree::NodeId;
use crate::client::terminal::capability::Size;
use crate::client::terminal::charset::Charset;
use crate::client::terminal::quantity;
use crate::client::terminal::width::{elide_middle, fit_left, fit_right, flow, truncate, width};

const MARK_COLUMNS: usize = 5;
const SIZE_COLUMNS: usize = 10;
const AGE_COLUMNS: usize = 10;

/// What a line is, so that it can be coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Where one is, and the counts.
    Header,
    /// An entry.
    Row,
    /// An entry with a mark.
    MarkedRow,
    /// The entry under the cursor; it also starts with `>`.
    CursorRow,
    /// The keys, and remarks.
    Hint,
}

/// One line of the screen; it is never wider than it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its text.
    pub text: String,
    /// What it is.
    pub role: Role,
}

/// How many entries fit under the header, for [`Model::fit`].
#[must_use]
pub fn list_height(model: &Model, size: Size, charset: Charset) -> usize {
    usize::from(size.rows).saturating_sub(header(model, size, charset).len() + 1).max(1)
}

/// The whole screen, at most `size.rows` lines. Call [`Model::fit`] with [`list_height`] before.
#[must_use]
pub fn render(model: &Model, size: Size, charset: Charset, now: SystemTime) -> Vec<Line> {
    let height = list_height(model, size, charset);
    let mut lines: Vec<Line> = header(model, size, charset).into_iter().map(|text| line(text, Role::Header)).collect();
    if model.rows().is_empty() {
        lines.push(line(truncate(nothing_listed(model), usize::from(size.columns), charset), Role::Hint));
    }
    let shown = model.rows().iter().enumerate().skip(model.top()).take(height);
    lines.extend(shown.map(|(place, node)| row(model, place, *node, size, charset, now)));
    lines.push(line(hints(usize::from(size.columns), charset), Role::Hint));
    // A screen of three lines keeps the counts and the row under the cursor.
    lines.truncate(usize::from(size.rows));
    lines
}

fn line(text: String, role: Role) -> Line {
    Line { text, role }
}

/// One line where it fits; else the place first and the counts below it, on as many lines as a third of the screen.
fn header(model: &Model, size: Size, charset: Charset) -> Vec<String> {
    let columns = usize::from(size.columns);
    let place = place(model);
    let counts = counts(model);
    let one_line = format!("{}{}{} {}", counts[0], charset.separator(), counts[1], counts[2]);
    let gap = columns.saturating_sub(width(&place) + width(&one_line));
    if gap >= 3 {
        return vec![format!("{place}{}{one_line}", " ".repeat(gap))];
    }
    let mut lines = vec![keep_filter(model, columns, charset)];
    let room = (usize::from(size.rows) / 3).max(1);
    let [listed, selected, bytes] = counts;
    let selected = if width(&selected) <= columns { selected } else { selected.replace("selected", "sel.") };
    let together = format!("{selected} {bytes}");
    let parts =
        if width(&together) <= columns { vec![listed, together] } else { vec![listed, selected.clone(), bytes] };
    let flowed = flow(&parts, charset.separator(), columns, charset);
    if flowed.len() <= room {
        lines.extend(flowed);
    } else {
        lines.push(truncate(&selected, columns, charset));
    }
    lines
}

fn place(model: &Model) -> String {
    let folder = model.shown_folder();
    if model.typed().is_empty() { folder } else { format!("{folder}   filter: {}", typed(model)) }
}

fn typed(model: &Model) -> String {
    crate::escape::harmless(model.typed().as_bytes())
}

/// What is being typed matters more than where: the folder's name gives way first.
fn keep_filter(model: &Model, columns: usize, charset: Charset) -> String {
    if model.typed().is_empty() {
        return elide_middle(&model.shown_folder(), columns, charset);
    }
    let filter = format!("filter: {}", typed(model));
    let room = columns.saturating_sub(width(&filter) + 2);
    if room < 6 {
        return elide_middle(&filter, columns, charset);
    }
    format!("{}  {filter}", elide_middle(&model.shown_folder(), room, charset))
}

/// Listed and total; marked and hidden; the marked bytes.
fn counts(model: &Model) -> [String; 3] {
    let number = |number: usize| quantity::count(number as u64);
    let listed = format!("{} of {}", number(model.rows().len()), number(model.total()));
    let marks = model.marks();
    let hidden = match model.hidden() {
        0 => String::new(),
        hidden => format!(" ({} hidden)", number(hidden)),
    };
    [listed, format!("{} selected{hidden}", number(marks.count())), quantity::size(marks.bytes())]
}

fn nothing_listed(model: &Model) -> &'static str {
    if model.typed().is_empty() { "     (empty folder)" } else { "     (nothing matches: Esc clears the filter)" }
}

fn row(model: &Model, place: usize, node: NodeId, size: Size, charset: Charset, now: SystemTime) -> Line {
    let at_cursor = place == model.cursor();
    let marked = model.marks().of(model.tree(), node);
    let cursor = if at_cursor { '>' } else { ' ' };
    let mark = match marked {
        Marked::None => ' ',
        Marked::Partly => '-',
        Marked::Wholly => 'x',
    };
    let columns = usize::from(size.columns);
    let details = details(model, node, columns, charset, now);
    let room = columns.saturating_sub(MARK_COLUMNS + width(&details));
    let name = fit_left(&model.tree().shown(node, model.folder()), room, charset);
    let text = truncate(format!("{cursor}[{mark}] {name}{details}").trim_end(), columns, charset);
    let role = match (at_cursor, marked) {
        (true, _) => Role::CursorRow,
        (false, Marked::None) => Role::Row,
        (false, _) => Role::MarkedRow,
    };
    line(text, role)
}

/// Size and age of a file, or what a folder holds: all of it in wide terminals, only the size in narrow ones, nothing
/// in the narrowest.
fn details(model: &Model, node: NodeId, columns: usize, charset: Charset, now: SystemTime) -> String {
    let tree = model.tree();
    let bytes = fit_right(&quantity::size(tree.bytes(node)), SIZE_COLUMNS, charset);
    let age = match tree.modified(node) {
        Some(then) if !tree.is_folder(node) => quantity::age(then, now),
        _ => String::new(),
    };
    match columns {
        0..36 => String::new(),
        36..56 => format!(" {bytes}"),
        56..80 if tree.is_folder(node) => format!(" {}", fit_left(&folder_facts(model, node), 22, charset)),
        56..80 => format!(" {bytes}  {}", fit_left(&age, AGE_COLUMNS, charset)),
        _ if tree.is_folder(node) => format!("  {}", fit_left(&folder_facts(model, node), 28, charset)),
        _ => format!("  {bytes}  {}", fit_left(&age, 28 - SIZE_COLUMNS - 2, charset)),
    }
}

fn folder_facts(model: &Model, node: NodeId) -> String {
    let tree = model.tree();
    if model.marks().of(tree, node) == Marked::Partly {
        let marked = quantity::count(model.marks().leaves_in(node) as u64);
        return format!("{marked} of {} marked", quantity::count(tree.leaves(node) as u64));
    }
    match tree.files(node) {
        0 => "no files".to_owned(),
        files => format!("{}, {}", quantity::counted(files, "file"), quantity::size(tree.bytes(node))),
    }
}

/// As many keys as fit, the ones that are hardest to guess first.
fn hints(columns: usize, charset: Charset) -> String {
    let open = format!("{} open", charset.right());
    let up = format!("{} up", charset.left());
    // In the order in which they are shown, with the order in which they are given up.
    let all = [
        ("Tab mark", 5),
        ("Ctrl-A mark visible", 1),
        (open.as_str(), 3),
        (up.as_str(), 2),
        ("type to filter", 0),
        ("Enter", 6),
        ("Esc", 4),
    ];
    for given_up in 0..all.len() {
        let kept: Vec<&str> = all.iter().filter(|(_, rank)| *rank >= given_up).map(|(hint, _)| *hint).collect();
        let shown = format!(" {}", kept.join(charset.separator()));
        if width(&shown) <= columns {
            return shown;
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::model::Key;
    use super::super::tree::{PickerEntry, Tree};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 500_000 * HOUR
    }

    /// The folder that the design draws: pictures, a folder of raw ones, and a few awkward names.
    fn model() -> Model {
        let file = |path: &str, size: u64, hours: u32| PickerEntry {
            path: format!("photos/2026/{path}").into_bytes(),
            is_folder: false,
            size,
            modified: Some(now() - hours * HOUR),
        };
        let mut entries = vec![
            file("beach.jpg", 8 << 20, 2),
            file("a_rather_long_and_winding_name_of_a_file_that_nobody_shortened_año nuevo.jpg", 17 << 20, 50),
            file("日本語の写真.jpg", 100 << 10, 9_000),
            file("evil\u{1b}[2J.txt", 12, 0),
            PickerEntry { path: b"photos/2026/void".to_vec(), is_folder: true, size: 0, modified: None },
        ];
        entries.extend((0..1_204).map(|number| file(&format!("raw/{number:04}.dng"), 26 << 20, 3)));
        let mut model = Model::new(Tree::new(entries));
        for key in [Key::Open, Key::Open] {
            model.press(key);
        }
        model
    }

    fn shown(model: &mut Model, columns: u16, rows: u16, charset: Charset) -> Vec<String> {
        let size = Size { columns, rows };
        model.fit(list_height(model, size, charset));
        render(model, size, charset, now()).into_iter().map(|line| line.text).collect()
    }

    fn marked_and_filtered() -> Model {
        let mut model = model();
        for key in [Key::Down, Key::Down, Key::Mark, Key::Mark, Key::Mark] {
            model.press(key);
        }
        for character in ".jpg !日本".chars() {
            model.press(Key::Text(character));
        }
        model
    }

    #[test]
    fn at_100_columns_everything_is_shown() {
        assert_eq!(
            shown(&mut model(), 100, 9, Charset::Unicode),
            [
                "/photos/2026                                                             6 of 1,210 · 0 selected 0 B",
                ">[ ] raw/                                                               1,204 files, 30.6 GiB",
                " [ ] void/                                                              no files",
                " [ ] a_rather_long_and_winding_name_o…t_nobody_shortened_año nuevo.jpg    17.0 MiB  2 d ago",
                " [ ] beach.jpg                                                             8.0 MiB  2 h ago",
                " [ ] evil\\u{1b}[2J.txt                                                        12 B  now",
                " [ ] 日本語の写真.jpg                                                    100.0 KiB  12 mo ago",
                " Tab mark · Ctrl-A mark visible · → open · ← up · type to filter · Enter · Esc"
            ]
        );
    }

    #[test]
    fn at_60_columns() {
        assert_eq!(
            shown(&mut model(), 60, 10, Charset::Unicode),
            [
                "/photos/2026                     6 of 1,210 · 0 selected 0 B",
                ">[ ] raw/                             1,204 files, 30.6 GiB",
                " [ ] void/                            no files",
                " [ ] a_rather_long_an…d_año nuevo.jpg   17.0 MiB  2 d ago",
                " [ ] beach.jpg                           8.0 MiB  2 h ago",
                " [ ] evil\\u{1b}[2J.txt                      12 B  now",
                " [ ] 日本語の写真.jpg                  100.0 KiB  12 mo ago",
                " Tab mark · → open · ← up · Enter · Esc"
            ]
        );
    }

    #[test]
    fn at_40_columns() {
        assert_eq!(
            shown(&mut model(), 40, 10, Charset::Unicode),
            [
                "/photos/2026",
                "6 of 1,210 · 0 selected 0 B",
                ">[ ] raw/                       30.6 GiB",
                " [ ] void/                           0 B",
                " [ ] a_rather_lon…o nuevo.jpg   17.0 MiB",
                " [ ] beach.jpg                   8.0 MiB",
                " [ ] evil\\u{1b}[2J.txt              12 B",
                " [ ] 日本語の写真.jpg          100.0 KiB",
                " Tab mark · → open · ← up · Enter · Esc"
            ]
        );
    }

    #[test]
    fn at_24_columns_in_ascii() {
        assert_eq!(
            shown(&mut model(), 24, 12, Charset::Ascii),
            [
                "/photos/2026",
                "6 of 1,210",
                "0 selected 0 B",
                ">[ ] raw/",
                " [ ] void/",
                " [ ] a_rather_~nuevo.jpg",
                " [ ] beach.jpg",
                " [ ] evil\\u{1b}[2J.txt",
                " [ ] 日本語の写真.jpg",
                " Tab mark - Enter - Esc"
            ]
        );
    }

    #[test]
    fn hidden_marks_are_counted_at_every_width() {
        let mut model = marked_and_filtered();
        assert_eq!(
            shown(&mut model, 100, 9, Charset::Unicode),
            [
                "/photos/2026   filter: .jpg !日本                        2 of 1,210 · 3 selected (1 hidden) 25.0 MiB",
                ">[x] a_rather_long_and_winding_name_o…t_nobody_shortened_año nuevo.jpg    17.0 MiB  2 d ago",
                " [x] beach.jpg                                                             8.0 MiB  2 h ago",
                " Tab mark · Ctrl-A mark visible · → open · ← up · type to filter · Enter · Esc"
            ]
        );
        assert_eq!(
            shown(&mut model, 60, 9, Charset::Unicode),
            [
                "/photos/2026  filter: .jpg !日本",
                "2 of 1,210 · 3 selected (1 hidden) 25.0 MiB",
                ">[x] a_rather_long_an…d_año nuevo.jpg   17.0 MiB  2 d ago",
                " [x] beach.jpg                           8.0 MiB  2 h ago",
                " Tab mark · → open · ← up · Enter · Esc"
            ]
        );
        assert_eq!(
            shown(&mut model, 40, 9, Charset::Unicode),
            [
                "/photos/2026  filter: .jpg !日本",
                "2 of 1,210",
                "3 selected (1 hidden) 25.0 MiB",
                ">[x] a_rather_lon…o nuevo.jpg   17.0 MiB",
                " [x] beach.jpg                   8.0 MiB",
                " Tab mark · → open · ← up · Enter · Esc"
            ]
        );
        assert_eq!(
            shown(&mut model, 24, 9, Charset::Unicode),
            [
                "filter: .jpg !日本",
                "2 of 1,210",
                "3 selected (1 hidden)",
                "25.0 MiB",
                ">[x] a_rather_…nuevo.jpg",
                " [x] beach.jpg",
                " Tab mark · Enter · Esc"
            ]
        );
        assert_eq!(
            shown(&mut model, 24, 5, Charset::Unicode),
            [
                "filter: .jpg !日本",
                "3 selected (1 hidden)",
                ">[x] a_rather_…nuevo.jpg",
                " [x] beach.jpg",
                " Tab mark · Enter · Esc"
            ]
        );
    }

    #[test]
    fn an_empty_list_says_why() {
        let mut model = Model::new(Tree::new([]));
        assert_eq!(shown(&mut model, 60, 5, Charset::Unicode)[1], "     (empty folder)");
        model.press(Key::Text('x'));
        assert_eq!(shown(&mut model, 60, 5, Charset::Unicode)[1], "     (nothing matches: Esc clears the filter)");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_screen(
            columns in 1_u16..120,
            rows in 1_u16..40,
            name in "\\PC{1,30}",
            filter in "\\PC{0,12}",
        ) {
            let entry = PickerEntry { path: name.into_bytes(), is_folder: false, size: u64::MAX, modified: None };
            let mut model = Model::new(Tree::new([entry]));
            for character in filter.chars() {
                model.press(Key::Text(character));
            }
            for charset in [Charset::Unicode, Charset::Ascii] {
                let lines = shown(&mut model, columns, rows, charset);
                prop_assert!(lines.len() <= usize::from(rows));
                prop_assert!(lines.iter().all(|line| width(line) <= usize::from(columns)), "{:?}", lines);
            }
        }
    }
}
