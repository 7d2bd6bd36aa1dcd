//! The agent process: a server whose calls and casts are functions.

use std::sync::Arc;

use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::Next;

/// The server behind `AgentRef<T>`. It has the name of the public type, because logs, listings and errors show
/// the name of a server's type.
pub(crate) struct Agent<T> {
    value: T,
}

/// The function that creates the value of an agent.
pub(crate) type CreateValue<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// A function with the reply handle for its result.
pub(crate) type CallFunction<T> = Box<dyn FnOnce(&mut T) -> Next + Send>;

/// A function whose result is not awaited.
pub(crate) type CastFunction<T> = Box<dyn FnOnce(&mut T) + Send>;

impl<T: 'static> GenServer for Agent<T> {
    type Args = CreateValue<T>;
    type Call = CallFunction<T>;
    type Cast = CastFunction<T>;

    fn init(create: CreateValue<T>, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { value: create() })
    }

    fn handle_call(&mut self, function: CallFunction<T>, _: &mut Context<Self>) -> Next {
        // The function contains the reply handle. If it panics, the process exits and the caller gets the
        // reason.
        function(&mut self.value)
    }

    fn handle_cast(&mut self, function: CastFunction<T>, _: &mut Context<Self>) -> Next {
        function(&mut self.value);
        Next::wait()
    }
}
