//! `client forget`.

use super::Context;
use crate::client::exit;
use crate::client::report::{print_json, say};
use crate::error::Result;
use serde_json::json;

/// Forgets the key that is known of the server.
pub(super) fn run(context: &Context) -> Result<u8> {
    let target = context.target();
    let forgotten = context.trust.forget(&target)?;
    if context.settings.json {
        let key = forgotten.map(|key| key.to_string());
        print_json(&json!({ "type": "forgotten", "server": target.known_as(), "fingerprint": key }));
    } else if !context.settings.quiet {
        say(&match forgotten {
            Some(key) => format!("Forgot {target} and its key {key}"),
            None => format!("{target} is not known"),
        });
    }
    Ok(exit::OK)
}
