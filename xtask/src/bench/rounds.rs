//! Aims 1 to 3: ours and the references in turn, round by round.

use anyhow::Result;

use super::Bench;
use super::crowd::Crowd;
use super::references;
use super::report::{Aim, Report, Target};
use super::spread::Spread;
use super::world::World;

/// Connections that confirm; orders share a commit, so more of them wait for the disk together.
const CONFIRMING: usize = 256;

/// What ours can do at most, for the measurements that are taken at a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peaks {
    pub(super) reserve: f64,
    pub(super) confirm: f64,
}

#[derive(Debug, Default)]
struct Rates {
    ceiling: Vec<f64>,
    redis: Vec<f64>,
    reserve: Vec<f64>,
    durable: Vec<f64>,
    postgres: Vec<f64>,
    confirm: Vec<f64>,
}

/// Measures all rounds.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) -> Result<Peaks> {
    let mut rates = Rates::default();
    for round in 1..=bench.size.rounds {
        bench.say(&format!("round {round} of {}", bench.size.rounds));
        one_round(bench, &mut rates)?;
    }
    let Rates { ceiling, redis, reserve, durable, postgres, confirm } = &rates;
    let at_least = Target::AtLeast;
    for aim in [
        Aim::rounds(1, "holds/s over HTTP / plain EVALSHA/s", (reserve, redis), at_least(1.0)),
        Aim::rounds(1, "holds/s / HTTP without stores", (reserve, ceiling), at_least(0.5)),
        Aim::rounds(2, "orders/s / one per transaction", (confirm, postgres), at_least(10.0)),
        Aim::rounds(3, "holds/s, appendfsync always / everysec", (durable, reserve), at_least(0.6)),
    ] {
        bench.tell(report, aim);
    }
    Ok(Peaks { reserve: Spread::of(reserve).median, confirm: Spread::of(confirm).median })
}

fn one_round(bench: &Bench<'_>, rates: &mut Rates) -> Result<()> {
    let seconds = bench.size.seconds;
    let world = World::start(bench, "round")?;
    for sku in ["RESERVE", "DURABLE", "CONFIRM"] {
        world.make_product(sku)?;
    }
    let note = |rates: &mut Vec<f64>, what: &str, rate: f64| {
        bench.say(&format!("  {what}: {rate:.0}/s"));
        rates.push(rate);
    };
    note(&mut rates.ceiling, "HTTP without stores", references::ceiling(bench, &world)?);
    note(&mut rates.redis, "plain EVALSHA", references::redis(bench, &world)?);
    let reserve = Crowd::reserving("RESERVE", seconds).visit(bench, &world)?.rate("reserve");
    note(&mut rates.reserve, "holds", reserve);
    let mut redis = world.redis()?;
    redis.ask(&["CONFIG", "SET", "appendfsync", "always"])?;
    let durable = Crowd::reserving("DURABLE", seconds).visit(bench, &world)?.rate("reserve");
    redis.ask(&["CONFIG", "SET", "appendfsync", "everysec"])?;
    note(&mut rates.durable, "holds, each on disk", durable);
    note(&mut rates.postgres, "orders, one per transaction", references::postgres(bench, &world)?);
    note(&mut rates.confirm, "orders", confirm(bench, &world, seconds)?);
    Ok(())
}

/// Orders per second, out of holds that were made beforehand.
fn confirm(bench: &Bench<'_>, world: &World, seconds: u64) -> Result<f64> {
    // More than can be used up.
    let prepare = 30_000 * seconds;
    let crowd = Crowd::reserving("CONFIRM", seconds);
    let crowd = Crowd { mix: "confirm=1", connections: CONFIRMING, prepare, ..crowd };
    Ok(crowd.visit(bench, world)?.rate("confirm"))
}
