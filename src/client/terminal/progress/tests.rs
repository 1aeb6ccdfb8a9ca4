//! The whole display, drawn onto a terminal emulator in memory.

use std::sync::atomic::AtomicU16;
use std::sync::mpsc;

use super::*;
use crate::client::terminal::charset::Charset;
use crate::client::terminal::screen::Press;
use crate::display::golden::{WIDTHS, compare, section};

const SCREEN: Size = Size { columns: 60, rows: 8 };

/// A terminal in memory that can be read while it is written.
#[derive(Clone)]
struct Screen(Arc<Mutex<vt100::Parser>>);

impl Screen {
    fn new(size: Size) -> Self {
        Self(Arc::new(Mutex::new(vt100::Parser::new(
            size.rows.try_into().unwrap(),
            size.columns.try_into().unwrap(),
            1_000,
        ))))
    }

    fn lines(&self) -> Vec<String> {
        let contents = lock(&self.0).screen().contents();
        contents.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn wait_for(&self, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                return lines;
            }
            assert!(Instant::now() < deadline, "not seen; the screen says:\n{}", lines.join("\n"));
            std::thread::yield_now();
        }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).process(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn terminal() -> Terminal {
    Terminal {
        stdin: true,
        stdout: true,
        stderr: true,
        columns: SCREEN.columns,
        rows: SCREEN.rows,
        color: false,
        color_on_stdout: false,
        unicode: true,
        dumb: false,
    }
}

fn bars() -> (Progress, Screen) {
    let screen = Screen::new(SCREEN);
    let progress = Progress::drawing_on(&terminal(), Display::Bars, Box::new(screen.clone()), || SCREEN);
    (progress, screen)
}

fn has(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

#[test]
fn at_most_rows_less_three_bars_and_the_rest_is_counted() {
    let (progress, screen) = bars();
    let _transfers: Vec<_> =
        (0..7).map(|number| progress.start(format!("{number}.iso").as_bytes(), Some(100), 50)).collect();
    let lines = screen.wait_for(|lines| has(lines, "TOTAL 0/7, +2 more"));
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert!(lines[0].starts_with(" 50% [####>---]") && lines[4].ends_with("4.iso"), "{lines:#?}");
    assert!(lines[5].ends_with("TOTAL 0/7, +2 more"), "{lines:#?}");
}

#[test]
fn finished_files_scroll_up_and_bars_are_gone_in_the_end() {
    let (progress, screen) = bars();
    progress.expect(3, 300);
    let first = progress.start(b"first.txt", Some(100), 0);
    let second = progress.start("se\x1bcond.txt".as_bytes(), Some(100), 0);
    let third = progress.start(b"third.txt", Some(100), 0);
    screen.wait_for(|lines| has(lines, "third.txt"));
    first.add(100);
    first.finish(Outcome::Complete);
    second.finish(Outcome::Failed("went away".to_owned()));
    screen.wait_for(|lines| has(lines, "TOTAL 1/3, 1 failed"));
    progress.println("connection lost");
    third.finish(Outcome::Kept);
    progress.finish();
    let lines = screen.lines();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines[0].starts_with(" ✓      100 B") && lines[0].ends_with("first.txt"), "{lines:#?}");
    assert_eq!(lines[1..], [r" ✗ se\u{1b}cond.txt  went away", "connection lost", " = already there  third.txt"]);
}

#[test]
fn ten_thousand_small_files_are_not_ten_thousand_lines() {
    let (progress, screen) = bars();
    for number in 0..10_000 {
        progress.start(format!("{number}").as_bytes(), Some(1), 0).finish(Outcome::Complete);
    }
    progress.finish();
    let mut parser = lock(&screen.0);
    parser.screen_mut().set_scrollback(usize::MAX);
    let lines = parser.screen().scrollback();
    drop(parser);
    assert!(lines < 1_000, "{lines} lines");
    let last = screen.wait_for(|lines| !lines.is_empty());
    assert!(!last.is_empty());
}

#[test]
fn a_worker_goes_on_while_a_question_is_asked() {
    let (progress, screen) = bars();
    let transfer = progress.start(b"big.iso", Some(1_000), 0);
    screen.wait_for(|lines| has(lines, "big.iso"));
    let (asked, answer) = mpsc::channel();
    std::thread::scope(|scope| {
        let (progress, screen) = (&progress, &screen);
        scope.spawn(move || {
            progress.suspend(|| {
                assert!(!has(&screen.lines(), "TOTAL"), "the bars are in the way");
                answer.recv_timeout(Duration::from_secs(20)).unwrap();
            });
        });
        // Were a worker to wait for the question, nobody would ever answer it.
        for _ in 0..1_000 {
            transfer.add(1);
        }
        transfer.finish(Outcome::Complete);
        let next = progress.start(b"next.iso", Some(10), 0);
        asked.send(()).unwrap();
        screen.wait_for(|lines| has(lines, "next.iso"));
        drop(next);
    });
}

#[test]
fn a_worker_that_vanishes_leaves_no_bar_behind() {
    let (progress, screen) = bars();
    drop(progress.start(b"lost.iso", Some(10), 0));
    screen.wait_for(|lines| has(lines, "✗ lost.iso  stopped"));
}

#[test]
fn quiet_prints_nothing() {
    let screen = Screen::new(SCREEN);
    let progress = Progress::drawing_on(&terminal(), Display::Quiet, Box::new(screen.clone()), || SCREEN);
    let transfer = progress.start(b"a", Some(1), 0);
    transfer.add(1);
    progress.println("hello");
    transfer.finish(Outcome::Complete);
    progress.finish();
    assert!(screen.lines().is_empty());
}

#[test]
fn where_nothing_can_be_redrawn_one_line_says_it_all() {
    let progress = Progress::drawing_on(&terminal(), Display::Lines, Box::new(io::sink()), || SCREEN);
    progress.expect(7, 4 << 20);
    let transfer = progress.start(b"a.iso", Some(2 << 20), 1 << 20);
    transfer.add(1 << 20);
    transfer.finish(Outcome::Complete);
    let mut drawing = lock(&progress.shared.drawing);
    drawing.board.add(std::mem::take(&mut *lock(&progress.shared.started)), Instant::now());
    drawing.board.expect(7, 4 << 20);
    drawing.board.read(Instant::now());
    let line = drawing.board.plain_line();
    assert!(line.starts_with("1/7 files, 2.0 MiB of 4.0 MiB, "), "{line}");
}

/// A download two seconds old, by counters and times that are always the same: one file is here, one failed, three are on
/// their way, two have not begun.
fn two_seconds_into_a_download(begun: Instant) -> (Board, Vec<Arc<Transfer>>) {
    const MIB: u64 = 1 << 20;
    let mut board = Board::new(Charset::Unicode, false, begun);
    board.expect(7, 1_300 * MIB);
    let files = [
        ("photos/2026/beach.jpg", Some(8 * MIB), 0),
        ("letters/日本語の手紙.txt", Some(900), 0),
        ("photos/2026/a_rather_long_and_winding_name_for_an_image_año nuevo.iso", Some(97 * MIB), 0),
        ("videos/film.mkv", Some(734 * MIB), 300 * MIB),
        ("log", None, 0),
    ];
    let transfers = files.map(|(name, size, already)| Arc::new(Transfer::new(name.as_bytes(), size, already)));
    board.add(transfers.to_vec(), begun);
    transfers[0].add(8 * MIB);
    transfers[0].finish_after(Outcome::Complete, Duration::from_millis(160));
    transfers[1].finish_after(Outcome::Failed("refused: not found".to_owned()), Duration::from_millis(3));
    for tick in 1..=20 {
        for (transfer, bytes) in transfers[2..].iter().zip([229_376, 5_242_880, 1_024]) {
            transfer.add(bytes);
        }
        board.read(begun + FRAME * tick);
    }
    (board, transfers.to_vec())
}

/// Draws the board as the display would, on a screen of that many columns.
fn drawn(board: &mut Board, columns: u16) -> String {
    static COLUMNS: AtomicU16 = AtomicU16::new(0);
    COLUMNS.store(columns, Ordering::Relaxed);
    let size = || Size { columns: COLUMNS.load(Ordering::Relaxed), rows: 12 };
    let screen = Screen::new(size());
    let mut bars = Bars::new(Box::new(screen.clone()), size, Charset::Unicode);
    bars.draw(board);
    section(columns, &screen.lines().join("\n"))
}

#[test]
fn bars_at_every_width() {
    let begun = Instant::now();
    let mut shown = String::new();
    for columns in WIDTHS {
        let (mut board, _transfers) = two_seconds_into_a_download(begun);
        board.attend();
        shown.push_str(&drawn(&mut board, columns));
        // The arrows choose one, and the server goes away.
        board.press(Press::Up);
        let outage = Outage { until: begun + FRAME * 42, why: "connect: nothing listens there".to_owned() };
        board.lost(vec![outage]);
        shown.push_str(&drawn(&mut board, columns));
    }
    compare("bars", &shown);
}

#[test]
fn whoever_waits_for_a_topic_sees_when_the_server_is_tried_again_and_nothing_else() {
    let begun = Instant::now();
    let mut board = Board::new(Charset::Unicode, false, begun);
    let size = Size { columns: 100, rows: 12 };
    board.leave_keys_to_owner();
    board.read(begun);
    assert!(board.rows(size).is_empty());
    for _ in 0..2 {
        let why = "connect: nothing listens there".to_owned();
        board.lost(vec![Outage { until: begun + FRAME * 42, why: why.clone() }]);
        assert_eq!(board.finished_lines(size, begun), [" ✗ no connection: connect: nothing listens there"]);
        let row = " no connection · again in 5 s · Enter now · Esc stop · connect: nothing listens there";
        assert_eq!(board.rows(size), [row]);
        board.trying();
        assert_eq!(board.rows(size), [" no connection · trying now · Esc stop"]);
        // That it still is away is no news.
        board.lost(vec![Outage { until: begun + FRAME * 42, why }]);
        assert!(board.finished_lines(size, begun).is_empty());
        assert_eq!(board.rows(size), [row]);
        board.regained();
        assert!(board.rows(size).is_empty() && board.finished_lines(size, begun).is_empty());
    }
}
