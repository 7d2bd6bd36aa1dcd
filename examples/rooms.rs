//! Servers started on demand and found by key: a dynamic supervisor starts a chat room when it is entered, a
//! registry finds it, a second registry holds its listeners. Run it with `cargo run --example rooms`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use rethread::StartError;
use rethread::prelude::*;
use rethread::process::Address;
use rethread::registry::{DuplicateRegistry, Registry};
use rethread::supervisor::{DynamicSupervisor, DynamicSupervisorRef};

struct Room {
    name: String,
    message_count: u32,
}

enum RoomCall {
    Say(&'static str, Caller<u32>),
}

impl GenServer for Room {
    type Args = String;
    type Call = RoomCall;
    type Cast = Infallible;

    fn init(name: String, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Room { name, message_count: 0 })
    }
    fn handle_call(&mut self, RoomCall::Say(text, from): RoomCall, _: &mut Context<Self>) -> Next {
        self.message_count += 1;
        let line = format!("{} #{}: {text}", self.name, self.message_count);
        LISTENERS.dispatch(&self.name, |all| all.iter().for_each(|(_, to)| to.send(line.clone())));
        assert!(!text.contains("bomb"), "not in this room");
        from.reply(self.message_count)
    }
}

const ROOMS: DynamicSupervisorRef = DynamicSupervisorRef::named("rooms");
static BY_NAME: Registry<String> = Registry::new();
static LISTENERS: DuplicateRegistry<String, Address<String>> = DuplicateRegistry::new();

/// Returns the room with that name; starts it if it is not running.
fn open_room(name: &str) -> Result<ServerRef<Room>, StartError> {
    let room = BY_NAME.server(name.to_owned());
    match ROOMS.start_child(Room::child_spec(name.to_owned()).name(room.clone())) {
        Ok(_) => println!("the room {name} is opened"),
        Err(StartError::AlreadyStarted(_)) => println!("the room {name} is open already"),
        Err(error) => return Err(error),
    }
    Ok(room)
}

fn chat(inbox: &mut Inbox<String>) -> Result<(), Box<dyn Error>> {
    LISTENERS.register("attic".to_owned(), inbox.address())?;
    let (attic, cellar) = (open_room("attic")?, open_room("cellar")?);
    open_room("attic")?;
    attic.call(|from| RoomCall::Say("hello", from))?;
    cellar.call(|from| RoomCall::Say("no one is listening", from))?;
    let crash = attic.call(|from| RoomCall::Say("a bomb", from));
    println!("the attic crashed: {}", crash.is_err());
    attic.whereis_timeout(Duration::from_secs(1)).ok_or("it is not restarted")?;
    attic.call(|from| RoomCall::Say("hello again", from))?;
    while let Some(Event::Message(line)) = inbox.try_recv() {
        println!("received {line}");
    }
    println!("{} rooms are open", BY_NAME.count());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let system = Supervisor::start_link([DynamicSupervisor::child_spec().name(ROOMS)], Strategy::OneForOne)?;
    process::attach_receiver(chat)??;
    system.stop()?;
    Ok(())
}
