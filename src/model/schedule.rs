//! Who goes next: chance, in one of several manners. Pure, but for its dice.

/// Numbers that look random (xorshift64*).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
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
enum Manner {
    /// Whoever runs is interrupted once in so many steps, for anybody.
    Random { once_in: u64 },
    /// Everybody has a priority, and the highest goes; at a few steps, drawn beforehand, whoever runs gets the
    /// lowest. Finds what needs few interruptions at the right places: Burckhardt et al., "A randomized scheduler with
    /// probabilistic guarantees of finding bugs", ASPLOS 2010.
    Priorities { of: Vec<u64>, lowest: u64, changes: Vec<u64> },
}

#[derive(Debug)]
pub(crate) struct Schedule {
    dice: Dice,
    manner: Manner,
    /// Once in so many steps the next deadline is past although somebody could go on; 0: never.
    hurry: u64,
}

/// Steps that a change of priority falls into.
const LENGTHS: [u64; 4] = [50, 150, 500, 1500];

impl Schedule {
    /// `impatient`: deadlines may pass while somebody could go on, as they do on a machine that is busy.
    pub(crate) fn draw(seed: u64, impatient: bool) -> Self {
        let mut dice = Dice::new(seed);
        let manner = if dice.one_in(3) {
            Manner::Random { once_in: [2, 5, 15, 50][dice.below(4) as usize] }
        } else {
            let length = LENGTHS[dice.below(LENGTHS.len() as u64) as usize];
            let depth = 1 + dice.below(4);
            let changes = (0..depth).map(|_| dice.below(length)).collect();
            Manner::Priorities { of: Vec::new(), lowest: u64::MAX / 2, changes }
        };
        let hurry = if impatient && !dice.one_in(3) { [20, 100, 400][dice.below(3) as usize] } else { 0 };
        Self { dice, manner, hurry }
    }

    /// Whether the next deadline is past now.
    pub(crate) fn hurries(&mut self) -> bool {
        self.hurry > 0 && self.dice.one_in(self.hurry)
    }

    /// From now on deadlines pass only when nobody can go on.
    pub(crate) fn calm_down(&mut self) {
        self.hurry = 0;
    }

    /// Whether a parked thread wakes up for no reason.
    pub(crate) fn startles(&mut self) -> bool {
        self.dice.one_in(200)
    }

    /// One of so many.
    pub(crate) fn any(&mut self, many: usize) -> usize {
        self.dice.below(many as u64) as usize
    }

    /// Chooses among those who can go on (at least one), at this step. `now` runs, if it is among them.
    pub(crate) fn choose(&mut self, ready: &[usize], now: usize, step: u64) -> usize {
        match &mut self.manner {
            Manner::Random { once_in } => {
                if ready.contains(&now) && !self.dice.one_in(*once_in) {
                    return now;
                }
                ready[self.dice.below(ready.len() as u64) as usize]
            }
            Manner::Priorities { of, lowest, changes } => {
                let most = ready.iter().copied().max().unwrap_or(0).max(now);
                while of.len() <= most {
                    of.push(u64::MAX / 2 + 1 + self.dice.below(1 << 40));
                }
                if changes.contains(&step) {
                    *lowest -= 1;
                    of[now] = *lowest;
                }
                ready.iter().copied().max_by_key(|thread| of[*thread]).unwrap_or(now)
            }
        }
    }
}
