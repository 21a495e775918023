//! The rest of aim 5: many products, at rest and wanted.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::chart::{Across, Chart, Series, lines};
use super::crowd::Crowd;
use super::footprint::cpu_seconds;
use super::report::{Part, Report};
use super::spread::Spread;
use super::world::{World, make_product};

const SKU: &str = "MANY";
/// Over how many products a crowd spreads; the last is how many there are.
const PRODUCTS: [usize; 3] = [1, 100, 10_000];
/// The share of one core that products at rest may cost, in percent.
const REST_PERCENT: f64 = 1.0;
const MAKERS: usize = 16;
/// Until background work that products began is through.
const SETTLE: Duration = Duration::from_secs(8);

/// Measures on one world that has all the products.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) -> Result<()> {
    let [_, _, all] = PRODUCTS;
    bench.say(&format!("{all} products"));
    let world = World::start(bench, "skus")?;
    let before = percent_at_rest(bench, &world)?;
    make_products(&world, all)?;
    bench.interrupt.check()?;
    let after = percent_at_rest(bench, &world)?;
    if let Some((before, after)) = before.zip(after) {
        let note = format!(
            "at rest the service used {before:.1} % of a core without products, {after:.1} % with them"
        );
        bench.say(&format!("  {note}"));
        report.notes.push(note);
        let name = "CPU for 10,000 products at rest, % of a core";
        bench.tell(report, Part::limit(5, name, &[after - before], REST_PERCENT));
    }
    wanted(bench, &world, report)
}

/// What the service uses of a core while nobody asks for anything, where the system tells it.
fn percent_at_rest(bench: &Bench<'_>, world: &World) -> Result<Option<f64>> {
    if !Path::new("/proc/self/stat").exists() {
        return Ok(None);
    }
    thread::sleep(SETTLE);
    let seconds = bench.size.rest_seconds;
    let before = cpu_seconds(world.service.pid())?;
    thread::sleep(Duration::from_secs(seconds));
    let used = cpu_seconds(world.service.pid())? - before;
    Ok(Some(used / seconds as f64 * 100.0))
}

/// Holds per second when the same crowd wants one product, some, and all.
fn wanted(bench: &Bench<'_>, world: &World, report: &mut Report) -> Result<()> {
    let mut rates = PRODUCTS.map(|_| Vec::new());
    for _ in 0..bench.size.repeats {
        for (rates, across) in rates.iter_mut().zip(PRODUCTS) {
            let crowd = Crowd::reserving(SKU, bench.size.short_seconds);
            let crowd = Crowd { across: Some(across), ..crowd };
            rates.push(crowd.visit(bench, world)?.rate("reserve"));
            bench.interrupt.check()?;
        }
    }
    let [one, some, all] = &rates;
    bench.tell(report, Part::rounds(None, "holds/s across 100 SKUs / of one", (some, one)));
    bench.tell(report, Part::rounds(None, "holds/s across 10,000 SKUs / of one", (all, one)));
    let points = PRODUCTS.iter().zip(&rates);
    let points = points.map(|(count, rates)| (*count as f64, Spread::of(rates).median)).collect();
    let title = "Holds per second of a crowd that spreads over products";
    let chart = Chart { title, x: "products", y: "holds/s", across: Across::Doubling };
    let series = [Series { name: "reserve".to_owned(), points }];
    report.charts.push(("skus.svg", lines(&chart, &series)));
    Ok(())
}

/// Makes them, and looks at each once, so that the service knows them.
fn make_products(world: &World, count: usize) -> Result<()> {
    let make = |maker: usize| -> Result<()> {
        for number in (maker..count).step_by(MAKERS) {
            let sku = format!("{SKU}-{number}");
            make_product(&world.service, &world.admin, &sku)?;
            world.available(&sku)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let makers: Vec<_> = (0..MAKERS).map(|maker| scope.spawn(move || make(maker))).collect();
        makers.into_iter().try_for_each(|maker| match maker.join() {
            Ok(made) => made,
            Err(_) => anyhow::bail!("a thread that makes products panicked"),
        })
    })
}
