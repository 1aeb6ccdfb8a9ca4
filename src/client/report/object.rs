//! What is told to programs: one object for a file, one for an error.

use super::{FileReport, Status};
use crate::client::exit;
use crate::error::Error;
use crate::escape::harmless;
use serde_json::{Value, json};

/// What became of a file.
pub(super) fn file_json(file: &FileReport) -> Value {
    let mut object = json!({ "type": "file", "bytes": file.moved, "size": file.size });
    name(&mut object, &file.path);
    if let Some(id) = file.transfer {
        object["id"] = id.to_string().into();
    }
    if let Some(number) = file.number {
        object["number"] = number.into();
    }
    for (key, value) in &file.details {
        object[key] = value.clone();
    }
    if file.resumed > 0 {
        object["resumed_from"] = file.resumed.into();
    }
    let (status, partial) = match &file.status {
        Status::Done { renamed } => {
            if let Some(renamed) = renamed {
                object["stored_as"] = renamed.as_str().into();
            }
            ("ok", 0)
        }
        Status::Identical => ("identical", 0),
        Status::Skipped => ("skipped", 0),
        Status::Interrupted { partial } => ("interrupted", *partial),
        Status::Failed { error, partial } => {
            object["code"] = exit::name(error).into();
            object["message"] = error.to_string().into();
            ("failed", *partial)
        }
    };
    object["status"] = status.into();
    if partial > 0 {
        object["partial"] = partial.into();
    }
    object
}

/// Adds a path as text, and exactly, in hexadecimal, if it is not plain UTF-8.
pub(in crate::client) fn name(object: &mut Value, path: &[u8]) {
    let shown = harmless(path);
    if shown.as_bytes() != path {
        object["path_hex"] = path.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    }
    object["path"] = shown.into();
}

/// An error as an object for programs.
pub(in crate::client) fn error_json(what: Option<&str>, error: &Error) -> Value {
    let mut object = json!({ "type": "error", "code": exit::name(error), "message": error.to_string() });
    if let Some(what) = what {
        object["what"] = what.into();
    }
    object
}
