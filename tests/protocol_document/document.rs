//! Takes PROTOCOL.md apart: tables into rows of cells, examples into steps.

use crate::cbor::unhex;

/// The document.
pub const TEXT: &str = include_str!("../../docs/PROTOCOL.md");

/// Who sends a step of an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `C`
    Client,
    /// `S`
    Server,
}

/// A step of an example: a line of text and the bytes below it.
#[derive(Debug)]
pub struct Step {
    /// Who sends it.
    pub side: Side,
    /// What the line says that it is.
    pub text: &'static str,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A table: the cells of its head and of its rows, and the last message name in bold before it.
pub struct Table {
    /// The head.
    pub head: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<&'static str>>,
    /// As in `**HELLO**`.
    pub subject: &'static str,
}

/// The steps of all blocks of the language `session`, in their order.
pub fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in fenced("session") {
        match line.split_once(": ") {
            Some(("C", text)) => steps.push(Step { side: Side::Client, text, bytes: Vec::new() }),
            Some(("S", text)) => steps.push(Step { side: Side::Server, text, bytes: Vec::new() }),
            _ => steps.last_mut().expect("bytes stand below a step").bytes.extend(unhex(line)),
        }
    }
    steps
}

/// The lines of all fenced blocks of a language.
pub fn fenced(language: &str) -> Vec<&'static str> {
    let mut inside = None;
    let mut lines = Vec::new();
    for line in TEXT.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(opened), None) => inside = Some(opened),
            (Some(_), Some(_)) => inside = None,
            (None, Some(opened)) if opened == language => lines.push(line),
            (None, _) => {}
        }
    }
    assert_eq!(inside, None, "a block is not closed");
    lines
}

/// All tables.
pub fn tables() -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut subject = "";
    let mut in_table = false;
    for line in TEXT.lines() {
        if let Some(name) = bold_names(line).last() {
            subject = name;
        }
        let Some(row) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            in_table &= line.starts_with("|--");
            continue;
        };
        let cells = row.split(" | ").map(str::trim).collect();
        match tables.last_mut() {
            Some(table) if in_table => table.rows.push(cells),
            _ => tables.push(Table { head: cells, rows: Vec::new(), subject }),
        }
        in_table = true;
    }
    tables
}

/// Names of messages in bold.
fn bold_names(line: &'static str) -> impl Iterator<Item = &'static str> {
    line.split("**").skip(1).step_by(2).filter(|name| name.chars().all(|letter| letter.is_ascii_uppercase()))
}

/// The one table with this head.
pub fn table(head: &[&str]) -> Table {
    let mut found: Vec<Table> = tables().into_iter().filter(|table| table.head == head).collect();
    assert_eq!(found.len(), 1, "tables with the head {head:?}");
    found.remove(0)
}

/// One row of a message's table.
#[derive(Debug, Clone, Copy)]
pub struct FieldRow {
    /// The message, as in the table of kinds.
    pub message: &'static str,
    /// The field's key.
    pub key: u8,
    /// The field's name.
    pub name: &'static str,
    /// Its type, and whether it is required.
    pub kind: &'static str,
}

/// The fields of all messages.
pub fn field_rows() -> Vec<FieldRow> {
    let mut found = Vec::new();
    for table in tables() {
        let [first, "Field", "Type", ..] = table.head[..] else { continue };
        let message = if first == "Key" { table.subject } else { first };
        for row in &table.rows {
            let key = row[0].parse().expect("a key");
            found.push(FieldRow { message, key, name: row[1], kind: row[2] });
        }
    }
    found
}
