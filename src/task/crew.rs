//! The tasks of one stream that run just now: takes one in, tells which ended first, ends those that are not to
//! go on. The stream decides what that means; when it is dropped, so is the crew, and nothing runs any more.

use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::gen_server::cycle::Waiting;
use crate::process::clock;
use crate::process::me::{self, Me};
use crate::reason::ExitReason;
use crate::task::error::JoinError;
use crate::task::handle::Task;

/// In the order of their positions.
pub(crate) struct Crew<T: Send + 'static>(Vec<Member<T>>);

struct Member<T: Send + 'static> {
    /// The how-manieth item it works on.
    position: u64,
    task: Task<T>,
    /// When its time is up, and how long that was.
    limit: Option<(Instant, Duration)>,
    /// Why it was killed.
    verdict: Option<JoinError>,
}

/// What a crew has to tell.
pub(crate) enum News<T> {
    /// The task at this position has ended.
    Ended(u64, Result<T, JoinError>),
    /// The time of the task at this position is up.
    Late(u64, JoinError),
    /// The task at this position waits for the calling process, which waits for it.
    Stuck(u64, JoinError),
}

impl<T: Send + 'static> Crew<T> {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, position: u64, task: Task<T>, limit: Option<Duration>) {
        let limit = limit.map(|limit| (clock::after(limit), limit));
        self.0.push(Member { position, task, limit, verdict: None });
    }

    /// Waits for the first that ends, or whose time is up. `wanted`: the one without which the calling process
    /// gets no further; otherwise any will do.
    pub(crate) fn wait(&mut self, me: Option<&Rc<Me>>, wanted: Option<u64>) -> News<T> {
        loop {
            for member in &self.0 {
                member.task.listen();
            }
            let waiting = match self.mark(me, wanted) {
                Ok(waiting) => waiting,
                Err(stuck) => return stuck,
            };
            let due = self.0.iter().filter(|one| one.timed()).min_by_key(|one| one.limit);
            let limit = due.and_then(|one| one.limit);
            let first = || {
                let ended = self.0.iter().enumerate().filter_map(|(at, one)| Some((one.task.ended()?, at)));
                ended.min().map(|(_, at)| at)
            };
            let ended = me::wait(limit.map(|(at, _)| at), first);
            drop(waiting);
            if let Some(at) = ended {
                let Member { position, mut task, verdict, .. } = self.0.remove(at);
                // A value that made it before the verdict counts.
                let result = task.hand_out().map_err(|ended| verdict.unwrap_or(ended));
                return News::Ended(position, result);
            }
            // One that has answered meanwhile was in time, however long it takes to end.
            if let (Some(one), Some((_, after))) = (due.filter(|one| one.timed()), limit) {
                return News::Late(one.position, one.task.late(after));
            }
        }
    }

    /// Sets the mark by which wait cycles are found on one of those that get the calling process further; if
    /// they all wait for it, says so of the first.
    fn mark<'a>(&self, me: Option<&'a Rc<Me>>, wanted: Option<u64>) -> Result<Option<Waiting<'a>>, News<T>> {
        let mut stuck = None;
        for member in self.0.iter().filter(|one| wanted.is_none_or(|wanted| one.position == wanted)) {
            if member.verdict.is_some() || member.task.settled() {
                return Ok(None);
            }
            match Waiting::enter(me, member.task.block()) {
                Ok(waiting) => return Ok(Some(waiting)),
                Err(cycle) => {
                    stuck = stuck.or(Some(News::Stuck(member.position, JoinError::Deadlock { cycle })));
                }
            }
        }
        stuck.map_or(Ok(None), Err)
    }

    /// Kills the one at this position; the verdict is what becomes of its item, unless it has a value already.
    pub(crate) fn kill(&mut self, position: u64, verdict: JoinError) {
        if let Some(member) = self.0.iter_mut().find(|one| one.position == position) {
            member.verdict = Some(verdict);
            member.task.cut_off(&ExitReason::Kill);
        }
    }
}

impl<T: Send + 'static> Member<T> {
    /// Whether its time counts: it has a limit and is still at work.
    fn timed(&self) -> bool {
        self.limit.is_some() && self.verdict.is_none() && !self.task.answered()
    }
}

/// Kills those that run and waits until they are gone. Not in an unwinding, which must get on; nor if the calling
/// process is told to go meanwhile: a destructor does not unwind, so it ends and lets the next call do so.
impl<T: Send + 'static> Drop for Crew<T> {
    fn drop(&mut self) {
        for member in &self.0 {
            member.task.listen();
            member.task.born().cut_off(&ExitReason::Kill); // also if we are a zombie: nobody else would end it
        }
        let me = me::get();
        let told = || me.as_ref().is_some_and(|me| me.block.doomed());
        let gone = || self.0.iter().all(|one| one.task.ended().is_some());
        if !thread::panicking() {
            me::park_through(|| (told() || gone()).then_some(()));
        }
    }
}
