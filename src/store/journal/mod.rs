#![allow(missing_docs, dead_code, unused)]
use crate::error::Result; use crate::wire::*; use std::time::{Duration,SystemTime};
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival { pub number: u64, pub path: RemotePath, pub size: u64, pub digest: Digest, pub modified: i64 , pub time: i64 , pub live: Option<LiveId>, pub publisher: Option<String> }
#[derive(Debug, Clone)]
pub struct NewArrival { pub path: RemotePath, pub size: u64, pub digest: Digest, pub modified: i64, pub inode: u64, pub live: Option<LiveId>, pub publisher: Option<String> }
pub struct Keep { pub arrivals: u64 , pub age: Duration }
pub struct Opened { pub arrivals: u64 }
pub enum Span { Arrivals(Vec<Arrival>) , Lost { up_to: u64 , missed: u64 }, End  }
#[derive(Debug)]
pub struct Journal;
impl Journal {
  pub fn id(&self) -> JournalId {todo!()}
  pub fn secret(&self) -> &[u8; 32] {todo!()}
  pub fn oldest(&self) -> u64 {todo!()}
  pub fn last(&self) -> u64 {todo!()}
  pub fn append(&self, new: Vec<NewArrival>) -> Result<Vec<u64>> {todo!()}
  pub fn read(&self, after: u64, most: usize) -> Result<Span> {todo!()}
  pub fn holds(&self, path: &RemotePath, inode: u64, size: u64, modified: i64) -> Option<u64> {todo!()}
  pub fn find_live(&self, live: LiveId) -> Option<u64> {todo!()}
  pub fn find_number(&self, number: u64) -> Result<Option<Arrival>> {todo!()}
  pub fn may_have_lost(&self, changed: SystemTime) -> bool {todo!()}
}
