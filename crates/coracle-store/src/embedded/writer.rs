//! The one writer.
//!
//! Theory of operation: all writes go through a bounded queue to one thread. It takes what has gathered
//! while the disk was busy with the batch before, does it in one transaction, makes that durable with one
//! fsync, tells the watchers, and then answers every caller: many concurrent writers share one fsync, a
//! lone one waits for nobody. The thread also ends leases: it waits for the queue only until the next one
//! is due, and without leases for ever, so an idle store uses no time at all. It is a plain thread because all
//! it does is to block, and because the store must not depend on a runtime being alive to finish a write.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use redb::{Durability, ReadableDatabase as _, ReadableTable as _};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::apply::{Change, Written};
use super::file::{Failure, StoreFile};
use super::lease::Leases;
use super::schema::LEASES;
use super::{EmbeddedConfig, read};
use crate::error::StoreError;
use crate::store::{LeaseId, Op, Revision};

/// The most requests in one transaction. The bytes in it are bounded by the queue.
const MAX_BATCH: usize = 256;
/// How long after a failure to end a lease it is tried again.
const LEASE_RETRY: Duration = Duration::from_secs(5);
/// What a put takes on the disk, at most, as a multiple of its bytes: the value and its copy in the log,
/// each in a run of pages whose length is a power of two.
const PUT_FACTOR: u64 = 4;

/// What is asked of the writer.
#[derive(Debug)]
pub(super) enum Request {
    Write(Vec<Op>),
    Grant(Duration),
    Revoke(LeaseId),
    Compact(Revision),
    Close,
}

/// What the writer answers.
#[derive(Debug)]
pub(super) enum Answer {
    Written(Written),
    Granted(LeaseId),
    Done,
}

/// A request in the queue.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Result<Answer, StoreError>>,
    /// Its room in the queue, free again when it was answered.
    pub(super) room: OwnedSemaphorePermit,
}

/// What a transaction came to.
#[derive(Debug, Default)]
struct Outcome {
    answers: Vec<Result<Answer, StoreError>>,
    granted: Vec<(LeaseId, Duration)>,
    ended: Vec<LeaseId>,
    revision: Revision,
}

/// The writer's side of a store.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) file: Arc<StoreFile>,
    pub(super) config: EmbeddedConfig,
    pub(super) leases: Arc<Leases>,
    pub(super) jobs: Receiver<Job>,
    pub(super) commits: watch::Sender<Revision>,
}

impl Writer {
    /// Works until the store is closed or nobody is left who could ask.
    pub(super) fn run(self) {
        while let Some(mut next) = self.wait() {
            let (mut batch, mut close) = (Vec::new(), None);
            loop {
                match next {
                    Some(job) if matches!(job.request, Request::Close) => {
                        close = Some(job);
                        break;
                    }
                    Some(job) => batch.push(job),
                    None => {}
                }
                if batch.len() == MAX_BATCH {
                    break;
                }
                next = self.jobs.try_recv().ok();
                if next.is_none() {
                    break;
                }
            }
            self.serve(batch);
            if let Some(job) = close {
                self.file.close();
                answer(job, Ok(Answer::Done));
                return;
            }
        }
    }

    /// Waits for a request or the end of a lease (`Some(None)`); `None` when nobody can ask any more.
    fn wait(&self) -> Option<Option<Job>> {
        let Some(end) = self.leases.next_end() else {
            return self.jobs.recv().ok().map(Some);
        };
        match self
            .jobs
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            Ok(job) => Some(Some(job)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn serve(&self, batch: Vec<Job>) {
        let mended = self.mend();
        let expired = self.leases.begin_expiry(Instant::now());
        if batch.is_empty() && expired.is_empty() {
            return;
        }
        let result = match mended {
            Ok(()) => self.transact(&batch, &expired),
            Err(error) => {
                self.keep_leases(&expired);
                Err(error)
            }
        };
        match result {
            Ok(outcome) => {
                let now = Instant::now();
                for (lease, ttl) in outcome.granted {
                    self.leases.grant(lease, ttl, now);
                }
                self.leases.ended(&outcome.ended);
                // Before the answers: who was answered and then asks a watcher's copy finds it on its way.
                self.publish(outcome.revision);
                for (job, result) in batch.into_iter().zip(outcome.answers) {
                    answer(job, result);
                }
            }
            Err(error) => {
                for job in batch {
                    answer(job, Err(error.clone()));
                }
            }
        }
    }

    fn publish(&self, revision: Revision) {
        self.commits.send_if_modified(|last| {
            let news = revision > *last;
            *last = revision.max(*last);
            news
        });
    }

    /// Opens the database again if it is lost.
    fn mend(&self) -> Result<(), StoreError> {
        if self.file.is_failed() {
            self.file.reopen()?;
            self.reload(Instant::now())?;
            tracing::info!("the store works again");
        }
        Ok(())
    }

    /// Does the batch in one transaction and commits it.
    fn transact(&self, batch: &[Job], expired: &[LeaseId]) -> Result<Outcome, StoreError> {
        let mut outcome = Outcome::default();
        let result = self.file.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let mut room = Room::new(&self.file, self.config.reserve_bytes);
            let mut change = Change::begin(&transaction)?;
            for lease in expired {
                match change.end_lease(*lease) {
                    // Not in the file: revoked in a commit whose success was not known. It has ended.
                    Ok(()) | Err(Failure::Refused(_)) => outcome.ended.push(*lease),
                    Err(failure) => return Err(failure),
                }
            }
            for job in batch {
                let result = match self.apply(&job.request, &mut change, &mut room, &mut outcome) {
                    Ok(answer) => Ok(answer),
                    Err(Failure::Refused(error)) => Err(error),
                    Err(failure) => return Err(failure),
                };
                outcome.answers.push(result);
            }
            change.retain(self.config.retention)?;
            outcome.revision = change.revision();
            if change.finish()? {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(())
        });
        match result {
            Ok(()) => Ok(outcome),
            Err(error) => Err(self.recover(error, &outcome, expired)),
        }
    }

    fn apply(
        &self,
        request: &Request,
        change: &mut Change<'_>,
        room: &mut Room,
        outcome: &mut Outcome,
    ) -> Result<Answer, Failure> {
        match request {
            Request::Write(ops) => {
                room.take(ops)?;
                Ok(Answer::Written(change.write(ops)?))
            }
            Request::Grant(ttl) => {
                let lease = change.grant(*ttl)?;
                outcome.granted.push((lease, *ttl));
                Ok(Answer::Granted(lease))
            }
            Request::Revoke(lease) => {
                change.end_lease(*lease)?;
                self.leases.begin_end(*lease);
                outcome.ended.push(*lease);
                Ok(Answer::Done)
            }
            Request::Compact(keep_from) => {
                change.compact(*keep_from)?;
                Ok(Answer::Done)
            }
            Request::Close => Ok(Answer::Done),
        }
    }

    /// After a failed transaction: goes back to the last commit and finds out what that is. The answer is
    /// the error to report.
    fn recover(&self, error: StoreError, tried: &Outcome, expired: &[LeaseId]) -> StoreError {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the store's file failed; going back to its last commit"
        );
        let found = self
            .file
            .reopen()
            .and_then(|()| self.reload(Instant::now() + LEASE_RETRY))
            .and_then(|()| read::revision(&self.file));
        let unknown = |error: StoreError| match error {
            // "Full" promises that the write was not done, which is not known here.
            StoreError::Full { .. } => StoreError::Io {
                action: "confirm its last write",
                source: Arc::new(error),
            },
            error => error,
        };
        match found {
            Ok(revision) => {
                self.publish(revision);
                let nothing_done = tried.revision == 0 || revision < tried.revision;
                if nothing_done { error } else { unknown(error) }
            }
            Err(reopen) => {
                tracing::error!(
                    error = &reopen as &dyn std::error::Error,
                    "the store cannot be opened again; trying with the next write"
                );
                self.keep_leases(expired);
                unknown(error)
            }
        }
    }

    /// Takes the leases over from the file.
    fn reload(&self, retry: Instant) -> Result<(), StoreError> {
        let stored = stored_leases(&self.file)?;
        self.leases.reload(&stored, Instant::now(), retry);
        Ok(())
    }

    /// Leases that could not be ended live on for a while.
    fn keep_leases(&self, leases: &[LeaseId]) {
        self.leases.postpone(leases, Instant::now() + LEASE_RETRY);
    }
}

/// The leases in the file.
pub(super) fn stored_leases(file: &StoreFile) -> Result<Vec<(LeaseId, Duration)>, StoreError> {
    file.with(|database| {
        let leases = database.begin_read()?.open_table(LEASES)?;
        let mut stored = Vec::new();
        for row in leases.iter()? {
            let (id, millis) = row?;
            stored.push((LeaseId(id.value()), Duration::from_millis(millis.value())));
        }
        Ok(stored)
    })
}

fn answer(job: Job, result: Result<Answer, StoreError>) {
    drop(job.room);
    // Who asked may have gone; the write is done all the same.
    if job.reply.send(result).is_err() {
        tracing::debug!("an answer of the store was not waited for");
    }
}

/// The space on the disk that puts may take, looked at once for each transaction.
///
/// redb gives up on everything, reads too, when one write to its file fails. So puts are refused before the
/// disk is full, and what is kept free lets deletions, which are how people make room, still go through.
#[derive(Debug)]
struct Room<'f> {
    file: &'f StoreFile,
    /// What was looked up and not used yet, beyond the reserve. `None`: not looked up.
    left: Option<u64>,
    reserve: u64,
}

impl<'f> Room<'f> {
    fn new(file: &'f StoreFile, reserve: u64) -> Self {
        Self {
            file,
            left: None,
            reserve,
        }
    }

    /// Takes the room for the puts of one write, or refuses the write.
    fn take(&mut self, ops: &[Op]) -> Result<(), StoreError> {
        let bytes = put_bytes(ops);
        if self.reserve == 0 || bytes == 0 {
            return Ok(());
        }
        let left = match self.left {
            Some(left) => left,
            None => self.file.free_bytes()?.saturating_sub(self.reserve),
        };
        let rest = left.checked_sub(bytes * PUT_FACTOR);
        self.left = Some(rest.unwrap_or(left));
        rest.map(drop).ok_or_else(|| self.file.full())
    }
}

/// The bytes of all puts; 0 when there is none.
fn put_bytes(ops: &[Op]) -> u64 {
    let bytes = |op: &Op| match op {
        Op::Put(put) => put.key.len() + put.value.len(),
        Op::Delete { .. } | Op::Check { .. } => 0,
    };
    ops.iter().map(bytes).sum::<usize>() as u64
}
