//! The tables of `docs/TRUST.md` that say what which right is good for, read as they stand there.

use hostdir::wire::{Right, Rights};

const TEXT: &str = include_str!("../../docs/TRUST.md");

/// Where something is, seen from the folder of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Inside,
    Folder,
    Above,
    Beside,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is dealt with as if there were no rights.
    Allowed,
    /// It is, for what lies in the folder only.
    Narrowed,
    Forbidden,
    /// It is not there, as little as what never was.
    NotFound,
}

/// A row of the table: what one command needs.
#[derive(Debug, Clone)]
pub struct Row {
    pub command: &'static str,
    /// One of these is enough.
    pub any: Rights,
    /// These are needed besides.
    pub all: Rights,
    places: Vec<(Place, Outcome)>,
}

impl Place {
    pub const ALL: [Self; 4] = [Self::Inside, Self::Folder, Self::Above, Self::Beside];
}

impl Row {
    /// What becomes of the command for somebody with these rights; nothing if it has no meaning there.
    pub fn outcome(&self, rights: Rights, place: Place) -> Option<Outcome> {
        let (_, outcome) = self.places.iter().find(|(known, _)| *known == place)?;
        let has_all = self.all.iter().all(|right| rights.has(right));
        let is_free = self.any == Rights::NONE;
        Some(if has_all && (is_free || rights.has_any(self.any)) { *outcome } else { Outcome::Forbidden })
    }
}

/// The rows of the table of a face.
pub fn rows(face: &str) -> Vec<Row> {
    let heading =
        format!("| {face} | read | add | overwrite | publish | subscribe | inside | the folder | above | beside |");
    let (_, table) = TEXT.split_once(&heading).unwrap_or_else(|| panic!("no table of {face}"));
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines.map(row).collect()
}

fn row(line: &'static str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [command, rights @ .., inside, folder, above, beside] = &cells[..] else { panic!("{line} is too short") };
    assert_eq!(rights.len(), Right::ALL.len(), "{line}");
    let (mut any, mut all) = (Rights::NONE, Rights::NONE);
    for (right, cell) in Right::ALL.into_iter().zip(rights) {
        match *cell {
            "any" => any = any | right,
            "needed" => all = all | right,
            "" => {}
            other => panic!("{other} in {line}"),
        }
    }
    let cells = [inside, folder, above, beside];
    let places = Place::ALL.into_iter().zip(cells).filter_map(|(place, cell)| Some((place, outcome(cell)?))).collect();
    Row { command, any, all, places }
}

fn outcome(cell: &str) -> Option<Outcome> {
    Some(match cell {
        "allowed" => Outcome::Allowed,
        "narrowed" => Outcome::Narrowed,
        "forbidden" => Outcome::Forbidden,
        "not-found" => Outcome::NotFound,
        "" => return None,
        other => panic!("{other} is no outcome"),
    })
}
