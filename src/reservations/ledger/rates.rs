//! Figures of sales that run, which replicas put together in Redis. Nothing depends on them, and all of them lapse.

use redis::RedisResult;

use crate::kernel::{ProductId, Sku};
use crate::platform::Fault;
use crate::reservations::ledger::Ledger;
use crate::reservations::rates::{KEPT_MS, POINTS, Point};

/// How long a step belongs to the process that took it.
const STEP_LEASE_MS: i64 = 60_000;

/// What one process counted of one product.
pub(in crate::reservations) struct Counted<'a> {
    pub(in crate::reservations) product: ProductId,
    pub(in crate::reservations) sku: &'a Sku,
    pub(in crate::reservations) reserved: i64,
    pub(in crate::reservations) refused: i64,
}

impl Ledger {
    /// Adds what this process counted, and its lateness of releases, in one flush.
    pub(in crate::reservations) async fn count(
        &self,
        counted: &[Counted<'_>],
        lag: Option<(&str, i64)>,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut pipe = redis::pipe();
        for count in counted {
            let key = self.keys().counts(count.sku);
            pipe.cmd("HINCRBY").arg(&key).arg("reserved").arg(count.reserved).ignore();
            pipe.cmd("HINCRBY").arg(&key).arg("refused").arg(count.refused).ignore();
            pipe.cmd("PEXPIRE").arg(&key).arg(KEPT_MS).ignore();
            pipe.cmd("ZADD").arg(self.keys().active()).arg(now_ms).arg(count.product.get());
            pipe.ignore();
        }
        if let Some((process, lag_ms)) = lag {
            let key = self.keys().lags();
            pipe.cmd("HSET").arg(&key).arg(process).arg(format!("{now_ms} {lag_ms}")).ignore();
            pipe.cmd("PEXPIRE").arg(&key).arg(KEPT_MS).ignore();
        }
        let mut connection = self.connection().await?;
        let counted: RedisResult<()> = pipe.query_async(&mut connection).await;
        counted.map_err(|error| self.fault("counting", error))
    }

    /// Whether this process is the one that writes this step down.
    pub(in crate::reservations) async fn take_step(&self, step: i64) -> Result<bool, Fault> {
        let mut cmd = redis::cmd("SET");
        cmd.arg(self.keys().step(step)).arg(1).arg("NX").arg("PX").arg(STEP_LEASE_MS);
        let mut connection = self.connection().await?;
        let taken: RedisResult<Option<String>> = cmd.query_async(&mut connection).await;
        Ok(taken.map_err(|error| self.fault("taking a step", error))?.is_some())
    }

    /// The products that somebody wanted since then, the latest first; older ones are forgotten.
    pub(in crate::reservations) async fn active(
        &self,
        since_ms: i64,
        most: usize,
    ) -> Result<Vec<i64>, Fault> {
        let key = self.keys().active();
        let mut pipe = redis::pipe();
        pipe.cmd("ZREMRANGEBYSCORE").arg(&key).arg("-inf").arg(format!("({since_ms}")).ignore();
        pipe.cmd("ZREVRANGE").arg(&key).arg(0).arg(most.saturating_sub(1));
        let mut connection = self.connection().await?;
        let active: RedisResult<(Vec<i64>,)> = pipe.query_async(&mut connection).await;
        Ok(active.map_err(|error| self.fault("listing active sales", error))?.0)
    }

    /// What all processes counted of these SKUs: units held, requests refused.
    pub(in crate::reservations) async fn counts(
        &self,
        skus: &[&Sku],
    ) -> Result<Vec<(i64, i64)>, Fault> {
        let mut pipe = redis::pipe();
        for sku in skus {
            pipe.cmd("HMGET").arg(self.keys().counts(sku)).arg(&["reserved", "refused"]);
        }
        let mut connection = self.connection().await?;
        type Counts = Vec<(Option<i64>, Option<i64>)>;
        let counts: RedisResult<Counts> = pipe.query_async(&mut connection).await;
        let counts = counts.map_err(|error| self.fault("reading counts", error))?;
        Ok(counts.into_iter().map(|(held, no)| (held.unwrap_or(0), no.unwrap_or(0))).collect())
    }

    /// Appends a point to the series of each of these.
    pub(in crate::reservations) async fn append(
        &self,
        points: &[(&Sku, Point)],
    ) -> Result<(), Fault> {
        let mut pipe = redis::pipe();
        for (sku, point) in points {
            let key = self.keys().series(sku);
            pipe.cmd("RPUSH").arg(&key).arg(point.packed()).ignore();
            pipe.cmd("LTRIM").arg(&key).arg(-(POINTS as i64)).arg(-1).ignore();
            pipe.cmd("PEXPIRE").arg(&key).arg(KEPT_MS).ignore();
        }
        let mut connection = self.connection().await?;
        let appended: RedisResult<()> = pipe.query_async(&mut connection).await;
        appended.map_err(|error| self.fault("writing a series", error))
    }

    /// The series of these SKUs, each from its point number `from` on (-1 is the last). What cannot be read is left out.
    pub(in crate::reservations) async fn series(
        &self,
        skus: &[&Sku],
        from: i64,
    ) -> Result<Vec<Vec<Point>>, Fault> {
        let mut pipe = redis::pipe();
        for sku in skus {
            pipe.cmd("LRANGE").arg(self.keys().series(sku)).arg(from).arg(-1);
        }
        let mut connection = self.connection().await?;
        let series: RedisResult<Vec<Vec<String>>> = pipe.query_async(&mut connection).await;
        let series = series.map_err(|error| self.fault("reading a series", error))?;
        Ok(series
            .iter()
            .map(|points| points.iter().filter_map(|point| Point::parse(point)).collect())
            .collect())
    }

    /// The lateness that each process told last, and when.
    pub(in crate::reservations) async fn lags(&self) -> Result<Vec<(i64, i64)>, Fault> {
        let mut cmd = redis::cmd("HVALS");
        cmd.arg(self.keys().lags());
        let mut connection = self.connection().await?;
        let lags: RedisResult<Vec<String>> = cmd.query_async(&mut connection).await;
        let lags = lags.map_err(|error| self.fault("reading restore lags", error))?;
        let parse = |text: &String| {
            let (at, lag) = text.split_once(' ')?;
            Some((at.parse().ok()?, lag.parse().ok()?))
        };
        Ok(lags.iter().filter_map(parse).collect())
    }
}
