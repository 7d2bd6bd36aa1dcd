//! The second sample of README.md, word for word; `tests/repository/guide.rs` compares them.

use rethread::agent::{Agent, AgentRef};
use rethread::prelude::*;
use rethread::supervisor::SupervisorSpec;
use std::time::Duration;

struct Shop { sold: u32 }
struct Buy(Caller<(u32, u32)>); // buys one item, and replies how many are sold and left

impl GenServer for Shop {
    type Args = ();
    type Call = Buy;
    type Cast = Infallible;
    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Shop { sold: 0 }) }
    fn handle_call(&mut self, Buy(from): Buy, _: &mut Context<Self>) -> Next {
        let take = |items: &mut u32| { *items = items.checked_sub(1).expect("an item"); *items };
        let left = STOCK.get_and_update(take).or_exit(); // if that fails, this process exits with the same reason
        self.sold += 1;
        from.reply((self.sold, left))
    }
}

const STOCK: AgentRef<u32> = AgentRef::named("stock"); // an agent: a server that only keeps a value
const SHOP: ServerRef<Shop> = ServerRef::named("shop");
fn system() -> SupervisorSpec {
    Supervisor::rest_for_one() // when the stock is restarted, so is the shop, which depends on it
        .child(Agent::child_spec(|| 5).name(STOCK))
        .child(Shop::child_spec(()).name(SHOP))
}

#[test]
fn shop_is_restarted_with_its_stock() {
    // In a process: `system` is linked to it, so it also stops if an assertion fails.
    let passed = process::attach(|| {
        let _system = system().start_link().expect("both start");
        assert_eq!(SHOP.call(Buy), Ok((1, 4)));
        let shop = SHOP.watch();
        process::exit(STOCK.whereis().expect("a running stock"), ExitReason::Kill);
        shop.wait(); // the supervisor has stopped the shop, too
        SHOP.whereis_timeout(Duration::from_secs(5));
        assert_eq!(SHOP.call(Buy), Ok((1, 4))); // both started anew
    });
    passed.unwrap_or_else(|error| panic!("{error}"));
}
