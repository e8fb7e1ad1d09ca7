//! Marks by which a call is known again in what it has written, and keys by which platforms know it.

use sha2::{Digest, Sha256};

/// A short text for notes: the same for every attempt of a call, and for no other call.
pub(super) fn mark(key: &str) -> String {
    format!("[storehand {}]", hex::encode(&Sha256::digest(key.as_bytes())[..6]))
}

/// The same as a name: `storehand-3f9a2c7d1b04`.
pub(super) fn handle(key: &str) -> String {
    format!("storehand-{}", hex::encode(&Sha256::digest(key.as_bytes())[..6]))
}

/// The same in the form of a UUID, which platforms want for their own guard against repeats.
pub(super) fn uuid(key: &str) -> String {
    let hex = hex::encode(&Sha256::digest(key.as_bytes())[..16]);
    // Version 8 is for digests of one's own; the variant's digit is 8 to b.
    format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_its_own() {
        let key = "run_0000000000002/tag";
        let uuid_of = uuid(key);
        assert_eq!((uuid_of.len(), uuid_of.split('-').count()), (36, 5), "{uuid_of}");
        assert_eq!(uuid(key), uuid_of);
        assert_ne!(uuid("run_0000000000002/tag2"), uuid_of);
        assert!(mark(key).len() == 24 && handle(key).len() <= 64 && !handle(key).contains("run"));
    }
}
