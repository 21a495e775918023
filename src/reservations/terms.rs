//! Telling Redis the terms of a product after every edit. Postgres remembers which version Redis has confirmed, so that
//! what a crash or an absent Redis left untold is told by any replica later.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::catalogue::{Name, Sale};
use crate::platform::Fault;
use crate::platform::fault::Kind;
use crate::platform::tasks::jittered;
use crate::reservations::Reservations;

/// Products told in one turn.
const BATCH: i64 = 64;

impl Sale for Reservations {
    fn announce<'a>(
        &'a self,
        name: &'a Arc<Name>,
        idle: bool,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        self.in_time(self.tell(name, idle)).boxed()
    }
}

impl Reservations {
    pub(super) async fn tell(&self, name: &Arc<Name>, idle: bool) -> Result<bool, Fault> {
        let catalogue = &self.shared.catalogue;
        let Some(terms) = catalogue.sale_terms(name.id).await? else { return Ok(true) };
        let told = self.on_sku(name, || self.ledger.terms(&name.sku, &terms, idle)).await?;
        if told {
            catalogue.told(name.id, terms.version).await?;
        }
        Ok(told)
    }

    /// Tells what was left untold until the service stops.
    pub(super) async fn run_announcing(self) {
        while self.shared.tasks.pause(jittered(super::startup::RETRY)).await {
            if let Err(fault) = self.announce_untold().await {
                tracing::warn!(error = fault.chain(), "terms of products wait to be told to redis");
            }
        }
    }

    async fn announce_untold(&self) -> Result<(), Fault> {
        let untold = self.shared.catalogue.untold(BATCH).await?;
        for name in &untold {
            match self.tell(name, false).await {
                // One product that cannot be told holds up no other.
                Err(fault) if fault.kind() != Kind::Unavailable => {
                    tracing::error!(error = fault.chain(), sku = %name.sku, "terms cannot be told");
                }
                told => {
                    told?;
                }
            }
        }
        if !untold.is_empty() {
            self.shared.catalogue.changed().await;
        }
        Ok(())
    }
}
