//! Children with start functions of their own, which panic, exit, throw, fail, ignore, hang and return
//! invalid pids. None of it may end a supervisor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use rethread::StartError;
use rethread::prelude::*;
use rethread::process::{Builder, Inbox};
use rethread::supervisor::Shutdown;

use crate::dice::Dice;

#[derive(Debug)]
pub(crate) struct Starter {
    name: String,
    dice: Dice,
    /// `true` if the started process exits by itself.
    short: bool,
    tries: AtomicUsize,
}

impl Starter {
    pub(crate) fn draw(dice: &mut Dice, name: String) -> Arc<Self> {
        Arc::new(Self { name, dice: dice.fork(), short: dice.one_in(4), tries: AtomicUsize::new(0) })
    }

    pub(crate) fn spec(self: &Arc<Self>) -> ChildSpec {
        let starter = Arc::clone(self);
        let limit = Duration::from_millis(200);
        ChildSpec::new(self.name.as_str(), move || starter.start()).shutdown(Shutdown::Timeout(limit))
    }

    fn start(&self) -> Result<Pid, StartError> {
        let tries = self.tries.fetch_add(1, Ordering::Relaxed);
        let mut dice = self.dice.clone();
        (0..tries % 16).for_each(|_| dice = dice.fork());
        // The first start always succeeds, or few trees would come up.
        match if tries == 0 { usize::MAX } else { dice.below(16) } {
            0 => panic!("a start function panics"),
            1 => process::exit_with("a start function leaves"),
            2 => process::throw("a start function throws"),
            3 => return Err(StartError::Failed(ExitReason::new("odd"))),
            4 => return Err(StartError::Ignored),
            5 => process::sleep(dice.up_to_ms(5)),
            6 => {
                let (_sender, nothing) = channel::<Infallible>();
                let _ = nothing.recv_timeout(dice.up_to_ms(5));
            }
            7 => {
                // A process that has exited before the supervisor sees its pid.
                let gone = self.builder().spawn(|| ())?;
                process::watch(gone).wait();
                return Ok(gone);
            }
            _ => {}
        }
        let short = self.short.then(|| dice.up_to_ms(60));
        let life = move |inbox: &mut Inbox<Infallible>| match short {
            None => drop(inbox.recv()),
            Some(time) => {
                process::sleep(time);
                process::exit_with("short life")
            }
        };
        Ok(self.builder().kill_grace(Duration::from_millis(10)).spawn_receiver_link(life)?.pid())
    }

    fn builder(&self) -> Builder {
        Builder::new().label(self.name.as_str())
    }
}
