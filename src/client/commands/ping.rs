//! `client ping`.

use super::Context;
use crate::client::exit;
use crate::client::report::{print_json, print_line};
use crate::error::Result;
use serde_json::json;
use std::time::Duration;

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks whether the server is there, `count` times.
pub(super) fn run(context: &Context, count: u32) -> Result<u8> {
    let mut session = context.open()?;
    for number in 0..count.max(1) {
        if number > 0 && !context.cancel.rest(PAUSE) {
            break;
        }
        let took = session.ping()?;
        let name = session.name();
        if context.settings.json {
            let version = session.welcome().version;
            let (us, tls) = (took.as_micros() as u64, session.is_encrypted());
            print_json(&json!({ "type": "pong", "name": name, "protocol": version, "us": us, "tls": tls }));
        } else if !context.settings.quiet {
            let tls = if session.is_encrypted() { ", TLS" } else { "" };
            let ms = took.as_secs_f64() * 1000.0;
            print_line(&format!("{name} ({}{tls}) answered in {ms:.2} ms", context.target()));
        }
    }
    session.close();
    Ok(exit::OK)
}
