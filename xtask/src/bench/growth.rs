//! Aim 5: holds per second among few and among many live ones, and the memory of one.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::chart::{Across, Chart, Series, lines};
use super::crowd::Crowd;
use super::report::{Part, Report, Target};
use super::spread::Spread;
use super::world::World;

const BYTES: f64 = 800.0;
const SKU: &str = "GROWTH";
/// For every hold that is made one is given back, so that as many live on.
const STEADY: &str = "reserve=1,cancel=1";
/// Until Redis has let go of what it only needed while the holds were made.
const SETTLE: Duration = Duration::from_secs(2);

/// Two worlds take turns: one with few live holds, and one in which they become more.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) -> Result<()> {
    let [few, levels @ ..] = bench.size.live_holds;
    bench.say(&format!("holds among {few} live ones and among more"));
    let (small, large) = (World::start(bench, "small")?, World::start(bench, "large")?);
    for world in [&small, &large] {
        world.make_product(SKU)?;
    }
    add_holds(bench, &small, few)?;
    let (mut live, mut points, mut all_few) = (0, Vec::new(), Vec::new());
    for level in levels {
        let before = large.redis()?.used_memory()?;
        add_holds(bench, &large, level - live)?;
        thread::sleep(SETTLE);
        let bytes = (large.redis()?.used_memory()? - before) / (level - live) as f64;
        bench.say(&format!("  {level} live holds: {bytes:.0} bytes each"));
        live = level;
        let (mut at_few, mut at_many) = (Vec::new(), Vec::new());
        for _ in 0..bench.size.repeats {
            at_few.push(steady(bench, &small)?);
            at_many.push(steady(bench, &large)?);
        }
        points.push((level as f64, Spread::of(&at_many).median));
        if level == bench.size.live_holds[2] {
            let name = format!("bytes in Redis for each of {level} live holds");
            bench.tell(report, Part::limit(5, &name, &[bytes], BYTES));
            let name = format!("holds/s among {level} live holds / among {few}");
            let aim = Some((5, Target::AtLeast(0.9)));
            bench.tell(report, Part::rounds(aim, &name, (&at_many, &at_few)));
        }
        all_few.append(&mut at_few);
    }
    points.insert(0, (few as f64, Spread::of(&all_few).median));
    let title = "Holds per second among live holds, one given back for each that is made";
    let chart = Chart { title, x: "live holds", y: "holds/s", across: Across::Doubling };
    let series = [Series { name: "reserve".to_owned(), points }];
    report.charts.push(("growth.svg", lines(&chart, &series)));
    Ok(())
}

fn add_holds(bench: &Bench<'_>, world: &World, holds: u64) -> Result<()> {
    let look = Crowd { mix: "look=1", connections: 1, prepare: holds, ..Crowd::reserving(SKU, 1) };
    look.visit(bench, world).map(drop)
}

fn steady(bench: &Bench<'_>, world: &World) -> Result<f64> {
    let crowd = Crowd::reserving(SKU, bench.size.short_seconds);
    Ok(Crowd { mix: STEADY, ..crowd }.visit(bench, world)?.rate("reserve"))
}
