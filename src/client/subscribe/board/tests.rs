use super::*;
use crate::client::dial::Target;
use std::os::fd::AsFd;

fn board(count: Option<u64>) -> (tempfile::TempDir, Board) {
    let dir = tempfile::tempdir().unwrap();
    let folder = std::fs::File::open(dir.path()).unwrap();
    let target = Target { host: "h".into(), port: 9 };
    let file = StateFile::open(folder.as_fd(), &target, &[]).unwrap();
    let board = Board::new(file, SubscriberId([7; 16]), 2, count);
    board.subscribed(JournalId([1; 16]), 0).unwrap();
    (dir, board)
}

fn arrival(number: u64, live: Option<LiveId>) -> Arrival {
    Arrival {
        number: Some(Number { run: 1, value: number }),
        path: RemotePath::parse(format!("chat/{number}").as_bytes()).unwrap(),
        size: 1,
        digest: crate::wire::Digest([0; 32]),
        modified: None,
        live,
        publisher: None,
        attempts: 0,
    }
}

/// Cause: an upload that had arrived, and waited to be gone on with, was forgotten together with its arrival when the same upload
/// was begun again and given up, or arrived again.
#[test]
fn an_arrival_outlives_the_return_of_its_upload() {
    let live = LiveId([9; 16]);
    let (_dir, board) = board(None);
    assert!(board.arrived(arrival(1, Some(live)), true));
    board.abandoned(live);
    assert!(board.arrived(arrival(2, Some(live)), false));
    assert!(board.arrived(arrival(3, Some(live)), true));
    assert_eq!(taken(&board), vec![2, 1]);
    let kept = board.lock().lives[&live].arrival.clone();
    assert_eq!(kept, Some(arrival(3, Some(live))));
}

fn taken(board: &Board) -> Vec<u64> {
    match board.lock().next_work(Wanted::Anything, 1) {
        Some(Work::Files(files)) => files.iter().map(|arrival| arrival.number.unwrap().value).collect(),
        None => Vec::new(),
        other => panic!("{other:?}"),
    }
}

/// Cause: with a count, a file that came in beside the last one that was wanted was dropped for good, also where that one
/// then failed; and nobody was woken.
#[test]
fn what_is_too_much_waits_until_it_is_known_to_be() {
    let (_dir, board) = board(Some(1));
    (1..=2).for_each(|number| assert!(board.arrived(arrival(number, None), false)));
    assert_eq!((taken(&board), taken(&board)), (vec![1], vec![2]));
    assert!(board.claim() && !board.claim());
    board.put_back(vec![arrival(2, None)]);
    assert!(taken(&board).is_empty(), "there are enough, as far as is known");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| board.take(Wanted::Anything, false));
        board.give_back();
        let Some(Work::Files(files)) = waiting.join().unwrap() else { panic!() };
        assert_eq!(files, [arrival(2, None)]);
    });
    assert!(board.claim());
    board.was_told();
    assert!(board.has_enough());
}
