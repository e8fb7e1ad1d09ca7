//! Bearer tokens: made here, shown once, kept as their SHA-256.

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::domain::Secret;

/// Where tokens are kept.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Those that are live.
    async fn list(&self) -> Result<Vec<Token>, TokenError>;
    /// Keeps a new one.
    async fn add(&self, token: Token) -> Result<(), TokenError>;
    /// Ends one; false where there is none of that name.
    async fn revoke(&self, name: &str) -> Result<bool, TokenError>;
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What people call it; unique.
    pub name: String,
    /// SHA-256 of it. The token has 256 random bits, so its digest needs no salt and no slowness.
    pub digest: [u8; 32],
    /// When it was made.
    pub created: Timestamp,
}

/// Why tokens could not be had, made or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The name is not one.
    #[error("`{0}` cannot be a token's name: 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`")]
    Name(String),
    /// There is one of that name.
    #[error("there is a token `{0}` already; revoke it, or take another name")]
    Taken(String),
    /// The machine gave no random bytes.
    #[error("this machine gives no random numbers: {0}")]
    Random(String),
    /// The store failed.
    #[error("the tokens cannot be had: {0}")]
    Store(String),
}

/// A token that was just made: the only time that it can be seen.
#[derive(Debug)]
pub struct NewToken {
    /// To be shown once.
    pub secret: Secret,
    /// To be kept.
    pub kept: Token,
}

impl NewToken {
    /// Makes one.
    ///
    /// # Errors
    /// Where the name is not one, or the machine has no random numbers.
    pub fn make(name: &str, now: Timestamp) -> Result<Self, TokenError> {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !fits {
            return Err(TokenError::Name(name.chars().take(80).collect()));
        }
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random).map_err(|error| TokenError::Random(error.to_string()))?;
        // The prefix lets scanners of leaked secrets find it.
        let text = format!("storehand_{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        Ok(Self {
            kept: Token { name: name.to_owned(), digest: digest(&text), created: now },
            secret: Secret::new(text),
        })
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The live token that this is. Digests are compared in constant time, and all of them.
pub(super) fn find<'t>(live: &'t [Token], given: &str) -> Option<&'t Token> {
    let given = digest(given);
    live.iter().fold(None, |found, token| if token.digest.ct_eq(&given).into() { Some(token) } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_itself_alone() {
        let make = |name: &str| NewToken::make(name, Timestamp::UNIX_EPOCH).expect("token");
        let (one, two) = (make("one"), make("two"));
        let live = [one.kept.clone(), two.kept.clone()];
        assert_eq!(find(&live, two.secret.reveal()), Some(&two.kept));
        assert_eq!(find(&live[..1], two.secret.reveal()), None);
        assert_eq!(find(&live, ""), None);
        assert_eq!(find(&live, &hex::encode(one.kept.digest)), None, "what is kept opens nothing");
        for bad in ["", "a b", &"x".repeat(65)] {
            assert!(matches!(NewToken::make(bad, Timestamp::UNIX_EPOCH), Err(TokenError::Name(_))), "{bad}");
        }
    }
}
