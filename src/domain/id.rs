//! Names of things.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A message's id: a UUID version 7, sixteen bytes in the database and text everywhere a person looks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

/// What is kept by message. Ids are random by themselves, so their hash is no more than a mixture of their bytes: the
/// standard one, made for keys that strangers choose, is asked a dozen times a message.
pub type ByMessage<V> = HashMap<MessageId, V, BuildHasherDefault<IdHasher>>;

/// A set of messages, found as in [`ByMessage`].
pub type MessageSet = HashSet<MessageId, BuildHasherDefault<IdHasher>>;

/// The hash of a [`MessageId`].
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

/// The odd number nearest to 2⁶⁴ over the golden ratio: multiplying by it spreads every bit over those above it (Knuth, The
/// Art of Computer Programming, vol. 3, §6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..eight.len()].copy_from_slice(eight);
            self.0 = (self.0.rotate_left(29) ^ u64::from_le_bytes(word)).wrapping_mul(GOLDEN);
        }
    }

    /// The length before the bytes, always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        // Multiplying brings nothing into lower bits, from which the table takes its places.
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(GOLDEN);
        mixed ^ (mixed >> 32)
    }
}

/// What a person typed is not a message id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a message id: expected a UUID such as 01997a3c-5c1e-7d1a-8f2e-3b1f0c9d8e7f (`onthedot list` shows them)"
)]
pub struct BadMessageId(pub String);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MessageId {
    type Err = BadMessageId;
    fn from_str(s: &str) -> Result<Self, BadMessageId> {
        uuid::Uuid::try_parse(s)
            .map(|u| MessageId(u.into_bytes()))
            .map_err(|_| BadMessageId(s.chars().take(80).collect()))
    }
}

impl Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// The name of an instance, as the jobs file gives it. Cheap to clone: every message in hand holds one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceName(pub Arc<str>);

impl InstanceName {
    /// Wraps a name.
    pub fn new(name: &str) -> Self {
        InstanceName(Arc::from(name))
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn ids_of_one_millisecond_and_ids_that_count_spread_over_all_places() {
        let hash = |id: MessageId| BuildHasherDefault::<IdHasher>::default().hash_one(id);
        let counted = |n: u32| MessageId(u128::from(n).to_be_bytes());
        let uuid = |n: u32| MessageId((0x0199_7a3c_5c1e_7000_8000_0000_0000_0000 | u128::from(n) << 20).to_be_bytes());
        for (what, ids) in
            [("counted", (0..4_096).map(counted).collect()), ("uuids", (0..4_096).map(uuid).collect::<Vec<_>>())]
        {
            // The table takes the lowest bits as the place, the highest seven to tell those of one place apart.
            let mut places = vec![0; 512];
            let mut marks = vec![0; 128];
            for id in ids {
                let hash = hash(id);
                places[usize::try_from(hash & 511).unwrap()] += 1;
                marks[usize::try_from(hash >> 57).unwrap()] += 1;
            }
            assert!(places.iter().all(|n| *n <= 32), "{what}: at most four times as many as on average");
            assert!(marks.iter().all(|n| *n <= 128), "{what}: at most four times as many as on average");
        }
    }
}
