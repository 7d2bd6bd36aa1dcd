//! `DuplicateRegistry`: the type, and the methods that require duplicate keys.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;

use crate::pid::Pid;
use crate::registry::key_kind::Duplicate;
use crate::registry::keyed_registry::{KeyedRegistry, pids_and_values};
use crate::registry::store::enter_change_call;

/// A [`Registry`](crate::registry::Registry) in which a key can have any number of entries, also several of one
/// process: for groups of processes, and for publishing to subscribers.
///
/// # Publishing and subscribing
/// The value of an entry can be the typed [`Address`](crate::process::Address) of the subscriber: then only processes
/// that accept the message can subscribe, and publishing means sending to each of them.
///
/// ```
/// use rethread::prelude::*;
/// use rethread::process::{Address, Inbox};
/// use rethread::registry::DuplicateRegistry;
///
/// #[derive(Clone, Debug, PartialEq)]
/// pub enum Score { Goal(u32) }
///
/// static TOPICS: DuplicateRegistry<&str, Address<Score>> = DuplicateRegistry::new();
///
/// fn publish(topic: &str, score: Score) {
///     TOPICS.dispatch(topic, |subscribers| {
///         for (_, to) in subscribers {
///             to.send(score.clone());
///         }
///     });
/// }
///
/// process::attach_receiver(|inbox: &mut Inbox<Score>| {
///     TOPICS.register("football", inbox.address()).expect("a process may subscribe");
///     publish("football", Score::Goal(1));
///     publish("chess", Score::Goal(2)); // no subscribers: nothing happens
///     assert_eq!(inbox.recv().into_message(), Some(Score::Goal(1)));
/// })?;
/// assert_eq!(TOPICS.count(), 0); // the subscriber has exited, so its entry is gone
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A server has no `Address`. It subscribes with a handle to itself, `cx.server_ref()`, and receives a cast. If servers
/// of several types subscribe to one topic, the value is a function that sends each its own type of message.
///
/// ```
/// use std::sync::Arc;
/// use rethread::prelude::*;
/// use rethread::registry::DuplicateRegistry;
///
/// type Subscriber = Arc<dyn Fn(u32) + Send + Sync>;
/// static GOALS: DuplicateRegistry<&str, Subscriber> = DuplicateRegistry::new();
///
/// struct Board { goals: u32 }
/// enum Ask  { Goals(Caller<u32>) }
/// enum Tell { Goal(u32) }
///
/// impl GenServer for Board {
///     type Args = ();
///     type Call = Ask;
///     type Cast = Tell;
///
///     fn init((): (), cx: &mut Context<Self>) -> Result<Self, InitError> {
///         let this = cx.server_ref();
///         GOALS.register("football", Arc::new(move |goals| this.cast(Tell::Goal(goals))))?;
///         Ok(Board { goals: 0 })
///     }
///     fn handle_call(&mut self, Ask::Goals(from): Ask, _: &mut Context<Self>) -> Next {
///         from.reply(self.goals)
///     }
///     fn handle_cast(&mut self, Tell::Goal(goals): Tell, _: &mut Context<Self>) -> Next {
///         self.goals += goals;
///         Next::wait()
///     }
/// }
///
/// let board = Board::start(())?;
/// GOALS.dispatch("football", |subscribers| subscribers.iter().for_each(|(_, notify)| notify(2)));
/// assert_eq!(board.call(Ask::Goals)?, 2);
/// board.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Not for naming
/// A key that several processes can have does not name one: there is no `key`, no `server`, no `whereis` and no
/// `update_value` here (E0599).
///
/// ```compile_fail,E0599
/// # use rethread::prelude::*;
/// # use rethread::registry::DuplicateRegistry;
/// static GROUPS: DuplicateRegistry<&str> = DuplicateRegistry::new();
/// let server = SupervisorRef::via(GROUPS.key("readers"));
/// ```
///
/// ```compile_fail,E0599
/// # use rethread::prelude::*;
/// # use rethread::registry::DuplicateRegistry;
/// static GROUPS: DuplicateRegistry<&str, u32> = DuplicateRegistry::new();
/// GROUPS.update_value("readers", |count| count + 1);
/// ```
///
/// # Differences from Erlang
/// In Elixir, too, both kinds are one module; there a function that does not fit the kind of keys fails at run time.
pub type DuplicateRegistry<K, V = ()> = KeyedRegistry<K, V, Duplicate>;

/// Duplicate keys: a key can have any number of entries.
impl<K, V> KeyedRegistry<K, V, Duplicate>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Removes those entries of the calling process under a key whose value matches.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::process::Inbox;
    /// use rethread::registry::DuplicateRegistry;
    ///
    /// static GROUPS: DuplicateRegistry<&str, u32> = DuplicateRegistry::new();
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<()>| {
    ///     for n in 1..=3 {
    ///         GROUPS.register("readers", n).expect("a process may register");
    ///     }
    ///     GROUPS.unregister_match("readers", |n| n % 2 == 1);
    ///     assert_eq!(GROUPS.values("readers", inbox.pid()), [2]);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unregister_match<Q>(&self, key: &Q, matches: impl FnMut(&V) -> bool)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(me) = enter_change_call() {
            self.store().unregister_match(me.block.pid, key, matches);
        }
    }

    /// Returns the processes that are registered under a key, with their values, in the order in which they
    /// registered.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::process::Inbox;
    /// # use rethread::registry::DuplicateRegistry;
    /// static GROUPS: DuplicateRegistry<&str, u32> = DuplicateRegistry::new();
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<()>| {
    ///     GROUPS.register("readers", 1).expect("a process may register");
    ///     GROUPS.register("readers", 2).expect("a process may register");
    ///     assert_eq!(GROUPS.lookup("readers"), [(inbox.pid(), 1), (inbox.pid(), 2)]);
    ///     assert_eq!(GROUPS.lookup("writers"), []);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lookup<Q>(&self, key: &Q) -> Vec<(Pid, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        pids_and_values(&self.entries_at(key))
    }
}
