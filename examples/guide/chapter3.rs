//! Chapter 3, "Monitor": no client waits for a server that has exited.

use crate::chapter1::parse;
use rethread::gen_server::CallError;
use rethread::prelude::*;

pub struct List(Vec<(u32, String)>);

pub enum ListCall {
    Add(String, Caller<()>),
    On(u32, Caller<Vec<String>>),
}

impl GenServer for List {
    type Args = ();
    type Call = ListCall;
    type Cast = Infallible; // there are no casts

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(List(Vec::new()))
    }
    fn handle_call(&mut self, call: ListCall, _: &mut Context<Self>) -> Next {
        match call {
            ListCall::Add(line, from) => {
                let (day, title) = parse(&line).or_exit();
                self.0.push((day, title.to_owned()));
                from.reply(())
            }
            ListCall::On(day, from) => {
                let entries = self.0.iter().filter(|entry| entry.0 == day);
                from.reply(entries.map(|entry| entry.1.clone()).collect())
            }
        }
    }
}

// The client functions that the rest of the program calls.
pub fn add(list: &ServerRef<List>, line: &str) -> Result<(), CallError> {
    list.call(|from| ListCall::Add(line.to_owned(), from))
}
pub fn on(list: &ServerRef<List>, day: u32) -> Result<Vec<String>, CallError> {
    list.call(|from| ListCall::On(day, from))
}

pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    process::attach_receiver(|inbox: &mut Inbox<()>| {
        let list = List::start(()).or_exit(); // not linked
        add(&list, "20261122 Dentist").or_exit();
        assert_eq!(on(&list, 20261122).or_exit(), ["Dentist"]);

        let monitor = list.monitor();
        let result = add(&list, "tomorrow Buy milk"); // returns at once, not after a timeout
        assert!(matches!(result, Err(CallError::Exited { .. })));
        let Event::Down { monitor: fired, reason, .. } = inbox.recv() else { panic!("expected a `Down`") };
        assert_eq!((fired, reason.to_string().as_str()), (monitor, "invalid digit found in string"));
        assert!(matches!(on(&list, 20261122), Err(CallError::NoProc { .. })));
    })?;
    Ok(())
}
