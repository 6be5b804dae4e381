//! Python's generator of random numbers, so that a `seed` picks what it picks in Ansible: cron minutes spread over
//! hosts by name must not move when the tool changes.

use minijinja::value::Value;
use sha2::{Digest, Sha512};

use crate::template::python;

const SIZE: usize = 624;
const SHIFT: usize = 397;

/// Mersenne Twister, MT19937 (Matsumoto and Nishimura, 1998).
pub(super) struct Generator {
    state: [u32; SIZE],
    index: usize,
}

/// Seeded as `random.Random(seed)` with a string; without one, from the operating system.
pub(super) fn generator(seed: Option<&Value>) -> Generator {
    match seed.filter(|seed| !seed.is_none()) {
        Some(seed) if seed.is_integer() => {
            let number = seed.as_i64().unwrap_or_default().unsigned_abs();
            Generator::from_key(&[number as u32, (number >> 32) as u32])
        }
        Some(seed) => Generator::from_text(&python::text(seed)),
        None => Generator::from_text(&uuid::Uuid::now_v7().to_string()),
    }
}

impl Generator {
    fn from_text(text: &str) -> Generator {
        let mut bytes = text.as_bytes().to_vec();
        bytes.extend_from_slice(&Sha512::digest(text.as_bytes()));
        // The bytes are one big-endian number, cut into words from its low end.
        let words: Vec<u32> =
            bytes.rchunks(4).map(|chunk| chunk.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte))).collect();
        Generator::from_key(&words)
    }

    fn from_key(key: &[u32]) -> Generator {
        // Leading zero words do not count, but one word always does.
        let used = key.iter().rposition(|word| *word != 0).map_or(1, |last| last + 1);
        let key = &key[..used];
        let mut state = [0u32; SIZE];
        state[0] = 19_650_218;
        for i in 1..SIZE {
            state[i] = mix(state[i - 1]).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        let (mut i, mut j) = (1, 0);
        for _ in 0..SIZE.max(key.len()) {
            state[i] =
                (state[i] ^ mix(state[i - 1]).wrapping_mul(1_664_525)).wrapping_add(key[j]).wrapping_add(j as u32);
            i = next(&mut state, i);
            j = (j + 1) % key.len();
        }
        for _ in 0..SIZE - 1 {
            state[i] = (state[i] ^ mix(state[i - 1]).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            i = next(&mut state, i);
        }
        state[0] = 0x8000_0000;
        Generator { state, index: SIZE }
    }

    fn word(&mut self) -> u32 {
        if self.index >= SIZE {
            for i in 0..SIZE {
                let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % SIZE] & 0x7fff_ffff);
                let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + SHIFT) % SIZE] ^ (joined >> 1) ^ odd;
            }
            self.index = 0;
        }
        let mut word = self.state[self.index];
        self.index += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn bits(&mut self, count: u32) -> u64 {
        if count <= 32 {
            return u64::from(self.word() >> (32 - count));
        }
        let low = u64::from(self.word());
        low | (u64::from(self.word() >> (64 - count)) << 32)
    }

    /// A number from 0 to below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        let count = u64::BITS - limit.leading_zeros();
        loop {
            let number = self.bits(count);
            if number < limit {
                return number;
            }
        }
    }

    pub(super) fn shuffle(&mut self, list: &mut [Value]) {
        for i in (1..list.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            list.swap(i, j);
        }
    }
}

fn mix(word: u32) -> u32 {
    word ^ (word >> 30)
}

fn next(state: &mut [u32; SIZE], i: usize) -> usize {
    if i + 1 < SIZE {
        return i + 1;
    }
    state[0] = state[SIZE - 1];
    1
}
