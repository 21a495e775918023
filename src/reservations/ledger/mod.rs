//! All Redis of the reservations: one function per script, one reply type per function.

mod clock;
mod crowds;
mod hints;
mod news;
mod rates;
mod replies;
mod retime;
mod sales;
mod weigh;

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use tracing::Instrument;

use crate::catalogue::{Name, SaleTerms};
use crate::kernel::{Quantity, ReservationId, Sku, UserId};
use crate::platform::lua::Script;
use crate::platform::redis::{Via, is_broken_data};
use crate::platform::{Fault, lua, metrics as names, traces};
use crate::reservations::keys::Keys;
use crate::reservations::news::Audience;
use hints::Hints;
use replies::{Reply, pinned, reserved, unreadable};

use crate::reservations::record::Record;
pub(super) use news::Told;
pub(super) use rates::Counted;
pub use replies::Audit;
pub(super) use replies::{
    Answer, Batch, Cancelled, Expired, Extended, Grabbed, Late, Pin, PinnedRecord, Pinning,
    Reserved, Rules, Settled, Standing, StockState, Trouble, Verdict, Wanted,
};
pub(super) use retime::Retimed;
pub(super) use sales::{Closed, Moved};
pub(super) use weigh::Weighed;

/// Where a page of an index ended: a score as Redis writes it, and an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) score: String,
    pub(super) id: String,
}

impl Place {
    /// Before the first.
    pub(super) fn start() -> Self {
        Self { score: "0".to_owned(), id: "-".to_owned() }
    }
}

/// The scripts, over one way to Redis.
#[derive(Clone)]
pub(super) struct Ledger {
    via: Via,
    keys: Keys,
    hints: Arc<Hints>,
    audience: Audience,
}

impl Ledger {
    pub(super) fn new(via: Via, prefix: &str, audience: Audience) -> Self {
        Self { via, keys: Keys::new(prefix), hints: Arc::default(), audience }
    }

    /// The same over another way to Redis.
    pub(super) fn over(&self, via: Via) -> Self {
        Self { via, ..self.clone() }
    }

    /// What is known of the hints in Redis.
    pub(super) fn hints(&self) -> &Hints {
        &self.hints
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// A connection for a rebuild, which must stay on one.
    pub(super) async fn connection(&self) -> Result<MultiplexedConnection, Fault> {
        self.via.connection().await
    }

    pub(super) fn fault(&self, what: &'static str, error: redis::RedisError) -> Fault {
        self.via.fault(what, error)
    }

    async fn run(&self, script: &'static Script, cmd: &Cmd) -> Answer<Reply> {
        let mut connection = self.via.connection().await?;
        let begun = std::time::Instant::now();
        let running = script.run::<Vec<Value>>(cmd, &mut connection);
        let answer = running.instrument(traces::call("redis", script.name)).await;
        metrics::histogram!(names::SCRIPT_SECONDS, "script" => script.name).record(begun.elapsed());
        match answer {
            Ok(values) => Reply::new(script.name, values),
            Err(error) if is_broken_data(&error) => {
                tracing::warn!(script = script.name, %error, "a script stumbled over what it found");
                Err(Trouble::Rebuild)
            }
            Err(error) => Err(self.via.fault(script.name, error).into()),
        }
    }

    fn call(&self, script: &'static Script, sku: &Sku, more: &[String]) -> Cmd {
        let mut keys = self.keys.six(sku);
        keys.extend_from_slice(more);
        script.call(&keys)
    }

    /// Holds units of one SKU for each of `wanted`, in one round trip. `again`: this very call may have run before.
    pub(super) async fn reserve(
        &self,
        name: &Name,
        wanted: &[Wanted],
        rules: Rules,
        again: bool,
    ) -> Answer<Batch> {
        let sku = &name.sku;
        let more: Vec<String> = wanted
            .iter()
            .flat_map(|want| [self.keys.timer(sku, want.id), self.keys.churn(sku, &want.user)])
            .chain(self.listening(sku))
            .collect();
        let mut cmd = self.call(&lua::RESERVE, sku, &more);
        cmd.arg(rules.default_ttl_ms).arg(rules.churn_tolerance_ms).arg(i32::from(again));
        for want in wanted {
            let Wanted { ttl_ms, lines, short_ms, .. } = want;
            let (quantity, email) = (want.quantity.get(), want.email.as_deref().unwrap_or("-"));
            cmd.arg(want.id.to_string()).arg(&want.token).arg(want.user.as_str());
            cmd.arg(format!("{quantity} {ttl_ms} {lines} {short_ms} {email}"));
        }
        let reply = self.run(&lua::RESERVE, &cmd).await?;
        let (now_ms, earliest_ms) = (reply.int(1)?, reply.int(2)?);
        let answers = reply.rest(3).zip(wanted);
        let answers = answers.map(|(answer, want)| reserved(answer, want, now_ms));
        Ok(Batch { now_ms, earliest_ms, answers: answers.collect::<Result<_, Fault>>()? })
    }

    /// Leaves the hints where the buyers of these wishes have holds. Awaited together with `reserve`, and before it, they
    /// go out in one flush; but the first batch of a crowd asks Redis first how many there are.
    pub(super) async fn hint(&self, name: &Name, wanted: &[Wanted], now_ms: i64) {
        let Ok(mut connection) = self.via.connection().await else { return };
        let users = wanted.iter().filter(|want| want.lines != "@").map(|want| &want.user);
        let (hints, keys, wishes) = (&self.hints, &self.keys, wanted.len());
        let written = hints.write(keys, &mut connection, name.id, wishes, users, now_ms).await;
        if let Err(error) = written {
            tracing::debug!(%error, "hints were not written");
        }
    }

    /// The products where a buyer may have holds.
    pub(super) async fn hinted(&self, user: &UserId, now_ms: i64) -> Result<Vec<i64>, Fault> {
        let mut connection = self.via.connection().await?;
        let hinted = Hints::read(&self.keys, &mut connection, user, now_ms).await;
        hinted.map_err(|error| self.via.fault("reading hints", error))
    }

    pub(super) async fn arm(&self, sku: &Sku, id: ReservationId, deadline_ms: i64) -> Answer<bool> {
        let mut cmd = self.call(&lua::ARM, sku, &self.telling(sku, id));
        cmd.arg(id.to_string()).arg(deadline_ms);
        Ok(self.run(&lua::ARM, &cmd).await?.status()? == 0)
    }

    pub(super) async fn pin(&self, sku: &Sku, pins: &[Pinning]) -> Answer<Vec<Pin>> {
        let timers: Vec<String> = pins.iter().map(|pin| self.keys.timer(sku, pin.id)).collect();
        let mut cmd = self.call(&lua::PIN, sku, &timers);
        for pin in pins {
            cmd.arg(pin.id.to_string()).arg(pin.user.as_str());
            cmd.arg(pin.expected.map_or(0, Quantity::get));
        }
        let reply = self.run(&lua::PIN, &cmd).await?;
        Ok(reply.nested(1).map(|answer| pinned(&answer?)).collect::<Result<_, Fault>>()?)
    }

    pub(super) async fn settle(&self, sku: &Sku, verdicts: &[Verdict]) -> Answer<Vec<Settled>> {
        let mut cmd = self.call(&lua::SETTLE, sku, &[]);
        for verdict in verdicts {
            let outcome = if verdict.confirmed { "CONFIRMED" } else { "ABORTED" };
            cmd.arg(verdict.id.to_string()).arg(outcome);
            cmd.arg(&verdict.token).arg(verdict.quantity).arg(&verdict.reason).arg(verdict.actor);
        }
        let reply = self.run(&lua::SETTLE, &cmd).await?;
        let settled = (1..reply.len()).map(|at| match reply.int(at)? {
            0 => Ok(Settled::Sold),
            1 => Ok(Settled::Released),
            2 => Ok(Settled::Nothing),
            _ => Err(unreadable()),
        });
        Ok(settled.collect::<Result<_, Fault>>()?)
    }

    /// Pins units for their owner. `token` counts if no pin of this id stands yet.
    pub(super) async fn grab(
        &self,
        sku: &Sku,
        id: ReservationId,
        token: &str,
        quantity: Quantity,
    ) -> Answer<Grabbed> {
        let mut cmd = self.call(&lua::GRAB, sku, &[]);
        cmd.arg(id.to_string()).arg(token).arg(quantity.get());
        let reply = self.run(&lua::GRAB, &cmd).await?;
        Ok(match reply.status()? {
            0 => Grabbed::Pinned {
                token: reply.text(1)?,
                epoch: reply.int(2)?,
                quantity: reply.quantity(3)?,
            },
            1 => Grabbed::Ended,
            2 => Grabbed::SoldOut { available: reply.int(1)?, soonest_expiry_ms: reply.int(2)? },
            _ => return Err(unreadable().into()),
        })
    }

    /// Pins units for money that came late. `token` counts if no pin of this id stands yet.
    pub(super) async fn late(
        &self,
        sku: &Sku,
        id: ReservationId,
        token: &str,
        user: &UserId,
        quantity: Quantity,
    ) -> Answer<Late> {
        let mut cmd = self.call(&lua::LATE, sku, &[]);
        cmd.arg(id.to_string()).arg(token).arg(user.as_str()).arg(quantity.get());
        let reply = self.run(&lua::LATE, &cmd).await?;
        Ok(match reply.status()? {
            0 => Late::Pinned {
                token: reply.text(1)?,
                epoch: reply.int(2)?,
                quantity: reply.quantity(3)?,
                cap: reply.int(4)?,
            },
            1 => Late::Ended,
            2 | 3 => Late::Refused,
            _ => return Err(unreadable().into()),
        })
    }

    /// Lets recovery look at these pins again only then. A pin that has ended meanwhile stays away.
    pub(super) async fn leave_until(
        &self,
        sku: &Sku,
        pins: &[(ReservationId, i64)],
    ) -> Result<(), Fault> {
        let mut connection = self.via.connection().await?;
        let mut cmd = redis::cmd("ZADD");
        cmd.arg(&self.keys.six(sku)[3]).arg("XX").arg("GT");
        for (id, at_ms) in pins {
            cmd.arg(*at_ms).arg(id.to_string());
        }
        let left: redis::RedisResult<()> = cmd.query_async(&mut connection).await;
        left.map_err(|error| self.via.fault("leaving pins of payments", error))
    }

    /// Brings the stock as Postgres has it; what Redis knows better stays.
    pub(super) async fn apply_stock(&self, sku: &Sku, state: &StockState) -> Answer<()> {
        let mut cmd = self.call(&lua::APPLY_STOCK, sku, &[]);
        cmd.arg(state.stocked).arg(state.returned).arg(state.ver).arg(state.taken.len());
        for id in &state.taken {
            cmd.arg(id.to_string());
        }
        for (user, back) in &state.backs {
            cmd.arg(user).arg(back);
        }
        self.run(&lua::APPLY_STOCK, &cmd).await?;
        Ok(())
    }

    pub(super) async fn cancel(
        &self,
        sku: &Sku,
        id: ReservationId,
        user: &UserId,
        actor: &str,
        reason: &str,
        churn_ms: i64,
    ) -> Answer<Cancelled> {
        let mut cmd =
            self.call(&lua::CANCEL, sku, &[self.keys.timer(sku, id), self.keys.churn(sku, user)]);
        cmd.arg(id.to_string()).arg(user.as_str()).arg(actor).arg(reason).arg(churn_ms);
        let reply = self.run(&lua::CANCEL, &cmd).await?;
        Ok(match reply.status()? {
            0 => Cancelled::Ended(Record::parse(&reply.text(1)?)?),
            1 => Cancelled::Confirming,
            2 => Cancelled::Absent,
            3 => Cancelled::Sold,
            _ => return Err(unreadable().into()),
        })
    }

    pub(super) async fn extend(
        &self,
        sku: &Sku,
        id: ReservationId,
        user: &UserId,
        count: u32,
        deadline_ms: i64,
    ) -> Answer<Extended> {
        let mut cmd = self.call(&lua::EXTEND, sku, &self.telling(sku, id));
        cmd.arg(id.to_string()).arg(user.as_str()).arg(count).arg(deadline_ms);
        let reply = self.run(&lua::EXTEND, &cmd).await?;
        Ok(match reply.status()? {
            0 => Extended::Until { deadline_ms: reply.int(1)? },
            1 => Extended::Gone { reason: reply.text(1)? },
            2 => Extended::Absent,
            3 => Extended::Sold,
            4 => Extended::Confirming,
            5 => Extended::Meanwhile,
            _ => return Err(unreadable().into()),
        })
    }

    pub(super) async fn expire(&self, sku: &Sku, most: u32) -> Answer<Expired> {
        let mut cmd = self.call(&lua::EXPIRE, sku, &[]);
        cmd.arg(most);
        let reply = self.run(&lua::EXPIRE, &cmd).await?;
        Ok(Expired {
            count: reply.int(1)?,
            lag_ms: reply.int(2)?,
            earliest_ms: reply.int(3)?,
            now_ms: reply.int(4)?,
        })
    }

    /// For each of these, whether anything is held on it, pinned, or has just ended; or its counters do not say so.
    pub(super) async fn busy(&self, names: &[Arc<Name>]) -> Result<Vec<bool>, Fault> {
        let mut connection = self.via.connection().await?;
        let mut pipe = redis::pipe();
        for name in names {
            pipe.cmd("EXISTS").arg(&self.keys.indexes(&name.sku));
            let fields = ["avail", "sold", "held", "stocked"];
            pipe.cmd("HMGET").arg(self.keys.stock(&name.sku)).arg(&fields);
        }
        let found: redis::RedisResult<Vec<Value>> = pipe.query_async(&mut connection).await;
        let found = found.map_err(|error| self.via.fault("looking for what is held", error))?;
        Ok(found
            .chunks(2)
            .map(|pair| !matches!(pair, [keys, counters] if at_rest(keys, counters)))
            .collect())
    }

    /// Which events Redis tells of; none if it does not show its configuration.
    pub(super) async fn keyspace_events(&self) -> Option<String> {
        let mut connection = self.via.connection().await.ok()?;
        let mut get = redis::cmd("CONFIG");
        get.arg("GET").arg("notify-keyspace-events");
        let found: redis::RedisResult<Vec<String>> = get.query_async(&mut connection).await;
        found.ok()?.into_iter().nth(1)
    }

    /// Closes a SKU: every script on it asks for a rebuild first.
    pub(super) async fn close(&self, sku: &Sku) -> Result<(), Fault> {
        let mut connection = self.via.connection().await?;
        let mut cmd = redis::cmd("HDEL");
        cmd.arg(self.keys.stock(sku)).arg("ready");
        let closed: redis::RedisResult<()> = cmd.query_async(&mut connection).await;
        closed.map_err(|error| self.via.fault("closing a SKU", error))
    }

    /// Announces a rebuild. False: a later one is under way.
    pub(super) async fn claim(
        &self,
        sku: &Sku,
        epoch: i64,
        connection: &mut MultiplexedConnection,
    ) -> Result<bool, Fault> {
        let mut cmd = self.call(&lua::CLAIM, sku, &[]);
        cmd.arg(epoch);
        let reply = lua::CLAIM.run::<Vec<i64>>(&cmd, connection).await;
        Ok(reply.map_err(|error| self.fault("claim", error))?.first() == Some(&0))
    }

    /// Old pins (reservation and buyer), and when the oldest that is left was made, or 0.
    pub(super) async fn claim_pins(
        &self,
        sku: &Sku,
        grace_ms: i64,
        most: u32,
    ) -> Answer<(i64, Vec<(ReservationId, UserId)>)> {
        let mut cmd = self.call(&lua::CLAIM_PINS, sku, &[]);
        cmd.arg(grace_ms).arg(most);
        let reply = self.run(&lua::CLAIM_PINS, &cmd).await?;
        let oldest_ms = reply.int(2)?;
        let claimed = reply.nested(3).map(|pin| {
            let pin = pin?;
            Ok((pin.parsed(0)?, pin.parsed(1)?))
        });
        Ok((oldest_ms, claimed.collect::<Result<_, Fault>>()?))
    }

    /// Records as they stand, with Redis's time.
    pub(super) async fn read(
        &self,
        sku: &Sku,
        ids: &[ReservationId],
    ) -> Answer<Vec<(i64, Option<Record>)>> {
        let mut cmd = self.call(&lua::READ, sku, &[]);
        for id in ids {
            cmd.arg(id.to_string());
        }
        let reply = self.run(&lua::READ, &cmd).await?;
        let now_ms = reply.int(1)?;
        let records = (2..reply.len()).map(|at| {
            let packed = reply.str(at)?;
            let record = if packed.is_empty() { None } else { Some(Record::parse(packed)?) };
            Ok((now_ms, record))
        });
        Ok(records.collect::<Result<_, Fault>>()?)
    }

    /// The live hold of a buyer, or the one that ended last while its tombstone stands.
    pub(super) async fn find(
        &self,
        sku: &Sku,
        user: &UserId,
    ) -> Answer<Option<(i64, ReservationId, Record)>> {
        let mut cmd = self.call(&lua::FIND, sku, &[]);
        cmd.arg(user.as_str());
        let reply = self.run(&lua::FIND, &cmd).await?;
        if reply.status()? != 0 {
            return Ok(None);
        }
        let id = reply.parsed(2)?;
        Ok(Some((reply.int(1)?, id, Record::parse(&reply.text(3)?)?)))
    }

    /// Tombstones of at least this age, and when the oldest of all was made, or 0.
    pub(super) async fn ended(
        &self,
        sku: &Sku,
        age_ms: i64,
        most: u32,
    ) -> Answer<(i64, Vec<(ReservationId, Option<Record>)>)> {
        let mut cmd = self.call(&lua::ENDED, sku, &[]);
        cmd.arg(age_ms).arg(most);
        let reply = self.run(&lua::ENDED, &cmd).await?;
        let mut ended = Vec::new();
        for at in (2..reply.len()).step_by(2) {
            let id = reply.parsed(at)?;
            ended.push((id, Record::parse(&reply.text(at + 1)?).ok()));
        }
        Ok((reply.int(1)?, ended))
    }

    pub(super) async fn forget(&self, sku: &Sku, ids: &[ReservationId]) -> Answer<i64> {
        let mut cmd = self.call(&lua::FORGET, sku, &[]);
        for id in ids {
            cmd.arg(id.to_string());
        }
        Ok(self.run(&lua::FORGET, &cmd).await?.int(1)?)
    }

    /// Brings the terms of a product. False, and nothing changed: it is held, and must not be.
    pub(super) async fn terms(&self, sku: &Sku, terms: &SaleTerms, idle: bool) -> Answer<bool> {
        let mut cmd = self.call(&lua::TERMS, sku, &[]);
        cmd.arg(terms.ttl_ms).arg(terms.cap).arg(terms.opens_at_ms).arg(terms.closes_at_ms);
        cmd.arg(&terms.sale).arg(terms.version).arg(i32::from(idle));
        Ok(self.run(&lua::TERMS, &cmd).await?.status()? == 0)
    }

    pub(super) async fn audit(&self, sku: &Sku) -> Answer<Audit> {
        let cmd = self.call(&lua::AUDIT, sku, &[]);
        let reply = self.run(&lua::AUDIT, &cmd).await?;
        Ok(Audit {
            now_ms: reply.int(1)?,
            epoch: reply.int(2)?,
            stocked: reply.int(3)?,
            avail: reply.int(4)?,
            held: reply.int(5)?,
            sold: reply.int(6)?,
            returned: reply.int(7)?,
            ver: reply.int(8)?,
            live: reply.int(9)?,
            earliest_ms: reply.int(10)?,
            oldest_pin_ms: reply.int(11)?,
            oldest_end_ms: reply.int(12)?,
            pinned: reply.int(13)?,
            hidden: reply.int(14)? == 1,
            strays: reply.int(15)?,
        })
    }
}

/// Whether nothing is held, and the counters say the same. What cannot be read is for the audit.
fn at_rest(keys: &Value, counters: &Value) -> bool {
    let Value::Array(counters) = counters else { return false };
    let number = |at: usize| match counters.get(at) {
        Some(Value::BulkString(text)) => std::str::from_utf8(text).ok()?.parse::<i64>().ok(),
        _ => None,
    };
    *keys == Value::Int(0)
        && matches!([0, 1, 2, 3].map(number), [Some(avail), Some(sold), Some(0), Some(stocked)] if avail + sold == stocked)
}
