//! Aims 1 to 3 and the read path: ours and the references in turn, round by round.

use anyhow::Result;

use super::Bench;
use super::crowd::Crowd;
use super::references::{self, Ceiling};
use super::report::{Part, Report, Target};
use super::spread::Spread;
use super::world::World;

/// Connections that confirm; orders share a commit, so more of them wait for the disk together.
const CONFIRMING: usize = 256;
/// Orders per second that the first round is prepared for.
const LIKELY_CONFIRMS: f64 = 20_000.0;
/// Products on the page that is listed.
const LISTED: usize = 50;
/// How many times as many holds are prepared as are likely to be confirmed.
const SPARE: f64 = 1.4;

/// What ours can do at most, for the measurements that are taken at a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peaks {
    pub(super) reserve: f64,
    pub(super) confirm: f64,
}

/// Per second, in each round.
#[derive(Debug, Default)]
struct Rates {
    ceiling: Vec<f64>,
    ceiling_looks: Vec<f64>,
    redis: Vec<f64>,
    reserve: Vec<f64>,
    looks: Vec<f64>,
    ceiling_lists: Vec<f64>,
    lists: Vec<f64>,
    durable: Vec<f64>,
    postgres: Vec<f64>,
    confirm: Vec<f64>,
}

/// Measures all rounds.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) -> Result<Peaks> {
    let mut rates = Rates::default();
    report.notes.extend(references::notes());
    for round in 1..=bench.size.rounds {
        bench.say(&format!("round {round} of {}", bench.size.rounds));
        one_round(bench, &mut rates, report)?;
    }
    let Rates { ceiling, redis, reserve, durable, postgres, confirm, .. } = &rates;
    let (looks, lists) =
        ((&*rates.looks, &*rates.ceiling_looks), (&*rates.lists, &*rates.ceiling_lists));
    let aim = |id, least| Some((id, Target::AtLeast(least)));
    for part in [
        Part::rounds(aim(1, 1.0), "holds/s over HTTP / plain EVALSHA/s", (reserve, redis)),
        Part::rounds(aim(1, 0.5), "holds/s / HTTP without stores", (reserve, ceiling)),
        Part::rounds(aim(2, 10.0), "orders/s / one per transaction", (confirm, postgres)),
        Part::rounds(aim(3, 0.6), "holds/s, appendfsync always / everysec", (durable, reserve)),
        Part::rounds(None, "looks at a stock/s / HTTP without stores", looks),
        Part::rounds(None, "pages of 50 products/s / HTTP without stores", lists),
    ] {
        bench.tell(report, part);
    }
    Ok(Peaks { reserve: Spread::of(reserve).median, confirm: Spread::of(confirm).median })
}

fn one_round(bench: &Bench<'_>, rates: &mut Rates, report: &mut Report) -> Result<()> {
    let (seconds, short) = (bench.size.seconds, bench.size.short_seconds);
    let world = World::start(bench, "round")?;
    for sku in ["RESERVE", "DURABLE", "CONFIRM"] {
        world.make_product(sku)?;
    }
    let note = |rates: &mut Vec<f64>, what: &str, rate: f64| {
        bench.say(&format!("  {what}: {rate:.0}/s"));
        rates.push(rate);
    };
    for number in 0..LISTED {
        world.make_product(&format!("LIST-{number}"))?;
    }
    let (reserving, looking) =
        (Crowd::reserving("RESERVE", seconds), Crowd::looking("RESERVE", short));
    let listing = Crowd::listing("RESERVE", short);
    let server = Ceiling::start(bench, &world)?;
    let ceiling = server.take(bench, &reserving)?.rate("reserve");
    note(&mut rates.ceiling, "HTTP without stores", ceiling);
    let ceiling = server.take(bench, &looking)?.rate("look");
    note(&mut rates.ceiling_looks, "looks without stores", ceiling);
    let ceiling = server.take(bench, &listing)?.rate("list");
    note(&mut rates.ceiling_lists, "pages without stores", ceiling);
    drop(server);
    note(&mut rates.redis, "plain EVALSHA", references::redis(bench)?);
    let figures = reserving.visit(bench, &world)?;
    note(&mut rates.reserve, "holds", figures.rate("reserve"));
    report.notes.push(format!(
        "load generator while it made {:.0} holds/s: {}",
        figures.rate("reserve"),
        figures.generator()
    ));
    note(&mut rates.looks, "looks", looking.visit(bench, &world)?.rate("look"));
    note(&mut rates.lists, "pages", listing.visit(bench, &world)?.rate("list"));
    let mut redis = world.redis()?;
    redis.ask(&["CONFIG", "SET", "appendfsync", "always"])?;
    let durable = Crowd::reserving("DURABLE", seconds).visit(bench, &world)?.rate("reserve");
    redis.ask(&["CONFIG", "SET", "appendfsync", "everysec"])?;
    note(&mut rates.durable, "holds, each on disk", durable);
    note(&mut rates.postgres, "orders, one per transaction", references::postgres(bench, &world)?);
    let likely = rates.confirm.last().copied().unwrap_or(LIKELY_CONFIRMS);
    note(&mut rates.confirm, "orders", confirm(bench, &world, likely)?);
    Ok(())
}

/// Orders per second, out of holds that were made beforehand.
fn confirm(bench: &Bench<'_>, world: &World, likely: f64) -> Result<f64> {
    let seconds = bench.size.seconds;
    // More than can be used up.
    let prepare = (likely * SPARE * (seconds + 1) as f64) as u64 + CONFIRMING as u64;
    let crowd = Crowd::reserving("CONFIRM", seconds);
    let crowd = Crowd { mix: "confirm=1", connections: CONFIRMING, prepare, ..crowd };
    Ok(crowd.visit(bench, world)?.rate("confirm"))
}
