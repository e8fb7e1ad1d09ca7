//! The tokens' place in the store.

use async_trait::async_trait;

use crate::domain::{Clock as _, SystemClock};
use crate::http::{Token, TokenError, Tokens};
use crate::store::{Store, StoreError};

/// Tokens that are kept in the store.
#[derive(Clone, Debug)]
pub struct StoreTokens(pub Store);

fn failed(error: StoreError) -> TokenError {
    TokenError::Store(error.to_string())
}

#[async_trait]
impl Tokens for StoreTokens {
    async fn list(&self) -> Result<Vec<Token>, TokenError> {
        let live = self.0.tokens().await.map_err(failed)?.into_iter().filter(|row| row.revoked.is_none());
        live.map(|row| {
            let mut digest = [0_u8; 32];
            hex::decode_to_slice(&row.digest, &mut digest)
                .map_err(|error| TokenError::Store(format!("token `{}`: {error}", row.name)))?;
            Ok(Token { name: row.name, digest, created: row.made })
        })
        .collect()
    }

    async fn add(&self, token: Token) -> Result<(), TokenError> {
        let added = self.0.add_token(&token.name, &hex::encode(token.digest), token.created).await.map_err(failed)?;
        if added { Ok(()) } else { Err(TokenError::Taken(token.name)) }
    }

    async fn revoke(&self, name: &str) -> Result<bool, TokenError> {
        self.0.revoke_token(name, SystemClock.now()).await.map_err(failed)
    }
}
