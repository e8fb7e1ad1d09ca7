//! What the products of shops are called, to be looked for in texts. Asked of the record now and then only: a shop may have
//! tens of thousands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::{Attempt, ShopId, Verdict};
use crate::models::policy::Titles;

/// The most products of a shop that are looked for.
const MOST: usize = 50_000;

/// How long they are taken for the shop's. A product that is new may be named by its name for so long.
const KEPT: Duration = Duration::from_secs(300);

/// The titles of the products of each shop.
#[derive(Default)]
pub(super) struct Catalogues(Mutex<HashMap<ShopId, (Instant, Arc<Titles>)>>);

impl Catalogues {
    /// Those of the attempt's shop; `None` where nothing is on record of it, as in a rule's test.
    pub(super) async fn of(&self, attempt: &Attempt) -> Result<Option<Arc<Titles>>, Verdict> {
        let Some(on_record) = &attempt.on_record else { return Ok(None) };
        let shop = &attempt.shop.id;
        if let Some((since, titles)) = self.kept().get(shop)
            && since.elapsed() < KEPT
        {
            return Ok(Some(Arc::clone(titles)));
        }
        let titles = on_record.product_titles(MOST).await.map_err(|why| Verdict::RetryAfter(None, why))?;
        let titles = Arc::new(Titles::new(titles.iter().map(String::as_str)));
        self.kept().insert(shop.clone(), (Instant::now(), Arc::clone(&titles)));
        Ok(Some(titles))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<ShopId, (Instant, Arc<Titles>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
