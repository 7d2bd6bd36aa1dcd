//! Who goes next: chance, in one of several manners. Pure, but for its dice.

/// Numbers that look random (xorshift64*).
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds that follow each other must not begin alike.
        let mixed = (seed.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self((mixed ^ (mixed >> 31)).max(1))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// How one execution is scheduled.
#[derive(Debug)]
enum Policy {
    /// Whoever runs is interrupted once in so many steps, for anybody.
    Random { once_in: u64 },
    /// Everybody has a priority, and the highest goes; at a few steps, drawn beforehand, whoever runs gets the
    /// lowest. Finds what needs few interruptions at the right places: Burckhardt et al., "A randomized scheduler with
    /// probabilistic guarantees of finding bugs", ASPLOS 2010.
    Priorities { priorities: Vec<u64>, lowest: u64, change_points: Vec<u64> },
}

#[derive(Debug)]
pub(crate) struct Schedule {
    rng: Rng,
    policy: Policy,
    /// Once in so many steps the next deadline is past although somebody could go on; 0: never.
    early_timeout_one_in: u64,
}

/// Steps that a change of priority falls into.
const EXECUTION_LENGTHS: [u64; 4] = [50, 150, 500, 1500];

impl Schedule {
    /// `impatient`: deadlines may pass while somebody could go on, as they do on a machine that is busy.
    pub(crate) fn from_seed(seed: u64, early_timeouts: bool) -> Self {
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

    /// Whether the next deadline is past now.
    pub(crate) fn early_timeout(&mut self) -> bool {
        self.early_timeout_one_in > 0 && self.rng.one_in(self.early_timeout_one_in)
    }

    /// From now on deadlines pass only when nobody can go on.
    pub(crate) fn disable_early_timeouts(&mut self) {
        self.early_timeout_one_in = 0;
    }

    /// Whether a parked thread wakes up for no reason.
    pub(crate) fn spurious_wakeup(&mut self) -> bool {
        self.rng.one_in(200)
    }

    /// One of so many.
    pub(crate) fn random_index(&mut self, len: usize) -> usize {
        self.rng.below(len as u64) as usize
    }

    /// Chooses among those who can go on (at least one), at this step. `now` runs, if it is among them.
    pub(crate) fn choose(&mut self, ready: &[usize], current: usize, step: u64) -> usize {
        match &mut self.policy {
            Policy::Random { once_in } => {
                if ready.contains(&current) && !self.rng.one_in(*once_in) {
                    return current;
                }
                ready[self.rng.below(ready.len() as u64) as usize]
            }
            Policy::Priorities { priorities, lowest, change_points } => {
                let max_id = ready.iter().copied().max().unwrap_or(0).max(current);
                while priorities.len() <= max_id {
                    priorities.push(u64::MAX / 2 + 1 + self.rng.below(1 << 40));
                }
                if change_points.contains(&step) {
                    *lowest -= 1;
                    priorities[current] = *lowest;
                }
                ready.iter().copied().max_by_key(|thread| priorities[*thread]).unwrap_or(current)
            }
        }
    }
}
