//! Chooses which thread runs next, at random by one of two policies. The choices depend on nothing but the
//! seed and the arguments, so the same seed gives the same execution.

/// A random number generator (xorshift64*).
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Creates a generator for one seed.
    pub(crate) fn new(seed: u64) -> Self {
        // Successive seeds must not give similar sequences; a state of 0 would stay 0.
        let mixed = (seed.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self((mixed ^ (mixed >> 31)).max(1))
    }

    /// Returns a random number less than `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    /// Returns `true` with a probability of one in `chances`.
    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// How the next thread is chosen in one execution.
#[derive(Debug)]
enum Policy {
    /// The current thread is interrupted about once in `once_in` steps, for a random thread.
    Random { once_in: u64 },
    /// Each thread has a random priority, and the ready thread with the highest one runs. At a few steps,
    /// drawn beforehand, the current thread gets the lowest priority. Finds races that need few interruptions
    /// at the right places: Burckhardt et al., "A randomized scheduler with probabilistic guarantees of
    /// finding bugs", ASPLOS 2010.
    Priorities { priorities: Vec<u64>, lowest: u64, change_points: Vec<u64> },
}

/// The random choices of one execution.
#[derive(Debug)]
pub(crate) struct Schedule {
    rng: Rng,
    policy: Policy,
    /// The next deadline passes early about once in this many steps; 0 means never.
    early_timeout_one_in: u64,
}

/// Assumed lengths of an execution in steps: the change points of priorities fall within the first so many
/// steps.
const EXECUTION_LENGTHS: [u64; 4] = [50, 150, 500, 1500];

impl Schedule {
    /// Draws policy and parameters from the seed. With `early_timeouts` deadlines may pass while some thread
    /// could still run, as on an overloaded machine.
    pub(crate) fn from_seed(seed: u64, early_timeouts: bool) -> Self {
        // No policy and no parameter finds all races, so each execution uses other ones.
        let mut rng = Rng::new(seed);
        let policy = if rng.one_in(3) {
            Policy::Random { once_in: [2, 5, 15, 50][rng.below(4) as usize] }
        } else {
            let length = EXECUTION_LENGTHS[rng.below(EXECUTION_LENGTHS.len() as u64) as usize];
            let depth = 1 + rng.below(4);
            let change_points = (0..depth).map(|_| rng.below(length)).collect();
            Policy::Priorities { priorities: Vec::new(), lowest: u64::MAX / 2, change_points }
        };
        let early_timeout_one_in =
            if early_timeouts && !rng.one_in(3) { [20, 100, 400][rng.below(3) as usize] } else { 0 };
        Self { rng, policy, early_timeout_one_in }
    }

    /// Returns `true` if the next deadline should pass now.
    pub(crate) fn early_timeout(&mut self) -> bool {
        self.early_timeout_one_in > 0 && self.rng.one_in(self.early_timeout_one_in)
    }

    /// Disables early timeouts: from now on deadlines pass only when no thread can run.
    pub(crate) fn disable_early_timeouts(&mut self) {
        self.early_timeout_one_in = 0;
    }

    /// Returns `true` if a parked thread should wake up spuriously now.
    pub(crate) fn spurious_wakeup(&mut self) -> bool {
        self.rng.one_in(200)
    }

    /// Returns a random index into a list of this length.
    pub(crate) fn random_index(&mut self, len: usize) -> usize {
        self.rng.below(len as u64) as usize
    }

    /// Chooses one of the `ready` threads, of which there must be at least one. `current` is the running
    /// thread; it may be among them.
    pub(crate) fn choose(&mut self, ready: &[usize], current: usize, step: u64) -> usize {
        match &mut self.policy {
            Policy::Random { once_in } => {
                if ready.contains(&current) && !self.rng.one_in(*once_in) {
                    return current;
                }
                ready[self.rng.below(ready.len() as u64) as usize]
            }
            Policy::Priorities { priorities, lowest, change_points } => {
                // Threads that have started since the last choice get a priority above all demoted ones.
                let max_id = ready.iter().copied().max().unwrap_or(0).max(current);
                while priorities.len() <= max_id {
                    priorities.push(u64::MAX / 2 + 1 + self.rng.below(1 << 40));
                }
                // Each demoted thread goes below those demoted before.
                if change_points.contains(&step) {
                    *lowest -= 1;
                    priorities[current] = *lowest;
                }
                ready.iter().copied().max_by_key(|thread| priorities[*thread]).unwrap_or(current)
            }
        }
    }
}
