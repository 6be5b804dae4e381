//! The cipher of ansible-vault's `AES256`.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Rounds of PBKDF2, as ansible-vault has them.
const ROUNDS: u32 = 10_000;

pub(super) const SALT_BYTES: usize = 32;

/// Plain text is filled up to a multiple of this, though the mode would not need it.
const BLOCK_BYTES: usize = 16;

/// What one password and one salt give.
#[derive(Clone)]
pub(super) struct Keys {
    cipher: [u8; 32],
    code: [u8; 32],
    counter: [u8; 16],
}

impl Keys {
    pub(super) fn derive(password: &[u8], salt: &[u8]) -> Keys {
        let mut bytes = [0; 80];
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, ROUNDS, &mut bytes);
        let mut keys = Keys { cipher: [0; 32], code: [0; 32], counter: [0; 16] };
        keys.cipher.copy_from_slice(&bytes[..32]);
        keys.code.copy_from_slice(&bytes[32..64]);
        keys.counter.copy_from_slice(&bytes[64..]);
        keys
    }

    /// Ciphertext and its authentication code.
    pub(super) fn seal(&self, plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let fill = BLOCK_BYTES - plain.len() % BLOCK_BYTES;
        let mut bytes = plain.to_owned();
        bytes.extend(std::iter::repeat_n(fill as u8, fill));
        self.apply(&mut bytes);
        let code = self.mac(&bytes).finalize().into_bytes().to_vec();
        (bytes, code)
    }

    /// The plain text, if `code` belongs to `ciphertext`. Compared in constant time.
    pub(super) fn open(&self, ciphertext: &[u8], code: &[u8]) -> Option<Vec<u8>> {
        self.mac(ciphertext).verify_slice(code).ok()?;
        let mut bytes = ciphertext.to_owned();
        self.apply(&mut bytes);
        let fill = usize::from(*bytes.last()?);
        let kept = bytes.len().checked_sub(fill).filter(|_| (1..=BLOCK_BYTES).contains(&fill))?;
        bytes.truncate(kept);
        Some(bytes)
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.code);
        mac.expect("HMAC takes keys of any length").chain_update(bytes)
    }

    fn apply(&self, bytes: &mut [u8]) {
        Ctr128BE::<Aes256>::new(&self.cipher.into(), &self.counter.into()).apply_keystream(bytes);
    }
}
