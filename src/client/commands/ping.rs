//! `client ping`.

use super::Context;
use crate::client::exit;
use crate::client::report::{print_json, print_line};
use crate::client::session::Session;
use crate::error::Result;
use crate::wire::Rights;
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
            let (version, rights) = (session.welcome().version, rights(&session));
            let (us, tls) = (took.as_micros() as u64, session.is_encrypted());
            print_json(
                &json!({ "type": "pong", "name": name, "protocol": version, "us": us, "tls": tls, "rights": rights }),
            );
        } else if !context.settings.quiet {
            let may = match context.settings.verbose {
                true => format!(" · you may: {}", rights(&session)),
                false => String::new(),
            };
            let tls = if session.is_encrypted() { ", TLS" } else { "" };
            let ms = took.as_secs_f64() * 1000.0;
            print_line(&format!("{name} ({}{tls}) answered in {ms:.2} ms{may}", context.target()));
        }
    }
    session.close();
    Ok(exit::OK)
}

/// What the server lets this client do.
fn rights(session: &Session) -> String {
    session.welcome().rights.unwrap_or(Rights::ALL).to_string()
}
