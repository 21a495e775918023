//! Telling SKUs how far the expiry clock is.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult};

use crate::catalogue::Name;
use crate::kernel::Sku;
use crate::platform::redis::is_broken_data;
use crate::platform::{Fault, lua};
use crate::reservations::clock::ExpiryClock;
use crate::reservations::ledger::Ledger;

impl Ledger {
    /// What Redis's clock says.
    pub(in crate::reservations) async fn time_ms(&self) -> Result<i64, Fault> {
        let mut connection = self.via.connection().await?;
        let time: RedisResult<(i64, i64)> = redis::cmd("TIME").query_async(&mut connection).await;
        let (seconds, micros) = time.map_err(|error| self.via.fault("asking the time", error))?;
        Ok(seconds * 1_000 + micros / 1_000)
    }

    /// Tells one SKU, on a connection that must be this one.
    pub(in crate::reservations) async fn set_clock(
        &self,
        sku: &Sku,
        clock: &ExpiryClock,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), Fault> {
        let told: RedisResult<Vec<i64>> =
            lua::CLOCK.run(&self.clock_call(sku, clock), connection).await;
        told.map(drop).map_err(|error| self.fault("clock", error))
    }

    /// Tells all of these in one flush; answers the earliest deadline of each (0: none, or none while it stands).
    pub(in crate::reservations) async fn set_clocks(
        &self,
        names: &[Arc<Name>],
        clock: &ExpiryClock,
    ) -> Result<Vec<i64>, Fault> {
        let mut connection = self.via.connection().await?;
        let loaded = lua::CLOCK.load(&mut connection).await;
        loaded.map_err(|error| self.fault("clock", error))?;
        let mut pipe = redis::pipe();
        for name in names {
            pipe.add_command(self.clock_call(&name.sku, clock));
        }
        let told: RedisResult<Vec<Vec<i64>>> = pipe.query_async(&mut connection).await;
        match told {
            Ok(told) => Ok(told.iter().map(|reply| reply.get(2).copied().unwrap_or(0)).collect()),
            // A stock that is no hash is no stock: all others were told, and its rebuild tells this one.
            Err(error) if is_broken_data(&error) => Ok(vec![0; names.len()]),
            Err(error) => Err(self.fault("clock", error)),
        }
    }

    fn clock_call(&self, sku: &Sku, clock: &ExpiryClock) -> Cmd {
        let mut cmd = self.call(&lua::CLOCK, sku, &[]);
        cmd.arg(clock.version).arg(clock.lag_ms).arg(clock.frozen_ms.unwrap_or(0));
        cmd
    }
}
