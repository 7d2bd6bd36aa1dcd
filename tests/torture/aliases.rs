//! Aliases: no message arrives through a deactivated alias.

use rethread::prelude::*;
use rethread::process::{Alias, AliasMode, Event};

use crate::client::Client;
use crate::hand::SLACK;

impl Client<'_> {
    /// Lets a process reply several times through an alias that is deactivated in the middle, in one of
    /// several ways.
    pub(crate) fn alias(&mut self) {
        let answers: Vec<u64> = (0..1 + self.hand.dice.below(20)).map(|_| self.hand.number()).collect();
        let (all, crash) = (answers.clone(), self.hand.dice.one_in(2));
        let Some(helper) = self.helper::<Alias<u64>>(move |inbox| {
            if let Event::Message(alias) = inbox.recv() {
                all.iter().for_each(|n| alias.send(*n));
            }
            if crash {
                process::exit_with("odd");
            }
        }) else {
            return;
        };
        let mode =
            *self.hand.dice.pick(&[AliasMode::Explicit, AliasMode::Demonitor, AliasMode::ReplyDemonitor]);
        let (monitor, alias) = self.inbox.monitor_alias(&helper, mode);
        helper.send(alias.clone());
        if self.hand.dice.one_in(2) {
            process::sleep(self.hand.dice.up_to_ms(1));
        }
        let through = move |event: &Event<u64>| matches!(event, Event::Message(n) if answers.contains(n));
        let down = move |event: &Event<u64>| matches!(event, Event::Down { monitor: m, .. } if *m == monitor);
        match mode {
            AliasMode::ReplyDemonitor => {
                // One reply, or the `Down`, and then nothing more.
                let first = self.inbox.recv_where_timeout(SLACK, |event| through(event) || down(event));
                self.gone(helper.pid());
                let more = self.take(|event| through(event) || down(event));
                if first.is_none() || !more.is_empty() {
                    self.breach(format!("through an alias for one answer came {first:?} and {more:?}"));
                }
            }
            AliasMode::Demonitor | AliasMode::Explicit => {
                let was_on = if mode == AliasMode::Explicit {
                    alias.unalias()
                } else {
                    process::demonitor_flush(monitor)
                };
                self.take(&through); // messages that arrived before stay in the mailbox
                self.gone(helper.pid());
                let late = self.take(&through);
                if !late.is_empty() || mode == AliasMode::Explicit && (!was_on || alias.unalias()) {
                    self.breach(format!("through an alias that was off came {late:?}; on before: {was_on}"));
                }
                process::demonitor_flush(monitor);
            }
            mode => panic!("unexpected mode: {mode:?}"),
        }
        self.over.insert(monitor);
    }
}
