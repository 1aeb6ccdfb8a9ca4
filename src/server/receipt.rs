//! RECEIPT (PROTOCOL.md, section 9): only the receiver's word makes a download `ok` in the log.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Shared;
use super::receivers;
use super::record::{self, Record, Status};
use super::session::Session;
use crate::error::Result;
use crate::wire::{Receipt, ReceiptOutcome, Right};
use std::collections::VecDeque;

/// Downloads whose receipt may still come; those beyond are logged without.
const MOST: usize = 4096;

/// Downloads that were sent whole, and wait for the receiver's word.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    records: VecDeque<Record>,
}

impl Unconfirmed {
    /// Whether no receipt is due.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a download that was sent whole.
    pub(super) fn add(&mut self, record: Record, shared: &Shared) {
        if self.records.len() >= MOST
            && let Some(oldest) = self.records.pop_front()
        {
            oldest.end(shared, Status::Incomplete, Some("no receipt"));
        }
        self.records.push_back(record);
    }

    /// The session ended: no receipt will come.
    pub(super) fn close(&mut self, shared: &Shared) {
        for record in self.records.drain(..) {
            record.end(shared, Status::Incomplete, Some("no receipt: the connection ended"));
        }
    }
}

/// Takes a receipt. One for an unknown transfer is ignored.
pub(super) fn note(session: &mut Session<'_>, receipt: Receipt) -> Result<()> {
    let (status, cause) = told(receipt.outcome);
    let records = &mut session.unconfirmed.records;
    // Receipts come in the order of the downloads, so this is the first one nearly always.
    let found = records.iter().position(|record| record.id == receipt.transfer);
    let record = found.and_then(|index| records.remove(index));
    if let Some(record) = &record {
        record.end(session.shared, status, cause);
    }
    if let (Some(number), Some(subscriber)) = (receipt.number, receipt.subscriber)
        && receivers::sees(session.shared, &session.caller, number).unwrap_or(false)
        && session.caller.grant().has(Right::Subscribe)
    {
        let peer = session.live.peer;
        if session.shared.store.note_received(number, subscriber, &peer.to_string(), receipt.outcome) {
            let path = record.as_ref().map(|record| record.path.as_str());
            record::received(number, subscriber, peer, path, status, cause);
        }
    }
    if session.unconfirmed.is_empty() {
        session.live.set_unconfirmed(None);
    }
    Ok(())
}

fn told(outcome: ReceiptOutcome) -> (Status, Option<&'static str>) {
    match outcome {
        ReceiptOutcome::Verified => (Status::Ok, None),
        ReceiptOutcome::Mismatch => (Status::Failed, Some("the digest did not match at the receiver")),
        ReceiptOutcome::NotStored => (Status::Failed, Some("the receiver could not store it")),
        ReceiptOutcome::GivenUp => (Status::Aborted, Some("the receiver gave up")),
    }
}
