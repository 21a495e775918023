//! `holdfast loadtest`: a crowd for a SKU of one's own deployment, every answer checked.
//!
//! Load is only ever sent to this machine, or to a host that its owner vouches for; in time and in
//! number it is bounded. It reads nothing but what the API shows.

mod busy;
mod chart;
mod check;
mod client;
mod desk;
mod drive;
mod mix;
mod pace;
mod page;
mod progress;
mod proof;
mod skus;
mod summary;
mod tally;
mod target;
mod wire;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use humantime_serde::re::humantime::parse_duration;
use tokio::task::LocalSet;

use self::busy::Watch;
use self::check::Expected;
use self::client::Client;
use self::desk::Desk;
use self::drive::{Drive, Stretch};
use self::mix::{Dealer, Kind, Mix};
use self::pace::Pace;
use self::proof::Stock;
use self::skus::Skus;
use self::summary::{Pacing, Plan, Summary};
use self::tally::Tally;
use self::target::{Owned, Target};
use self::wire::Wire;
use crate::config::{LoadOptions, Settings};
use crate::identity::{Role, Tokens};
use crate::kernel::{Clock, Sku, UserId};

/// Longest run.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Most requests of a run: the generator remembers each hold.
const MOST_REQUESTS: u64 = 20_000_000;
/// Longest time that making holds beforehand may take.
const PREPARING: Duration = Duration::from_secs(600);
/// Connections that make them.
const PREPARING_CONNECTIONS: usize = 64;
/// Where `cargo xtask run` says that its service is.
const URL_VARIABLE: &str = "HOLDFAST_URL";
/// How long the token of the run is good for, beyond the run itself.
const TOKEN_SPARE: Duration = Duration::from_secs(900);

/// What `holdfast loadtest` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadtestArgs {
    /// The service, e.g. http://127.0.0.1:8080 [default: $HOLDFAST_URL, or this machine at
    /// server.port].
    #[arg(long)]
    url: Option<String>,
    /// The SKU to ask for; best one that nobody else buys meanwhile, or the proof cannot hold.
    #[arg(long)]
    sku: Sku,
    /// Spreads the crowd evenly over so many alike products: SKU-0, SKU-1, … instead of SKU.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    across: Option<u32>,
    /// How many buyers come again and again; without it every hold is for another buyer.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    buyers: Option<u64>,
    /// Requests per second, sent at their time whether or not earlier ones were answered (open
    /// loop). Latency counts from that time. Without it each connection sends when it has its
    /// answer (closed loop).
    #[arg(long)]
    rate: Option<f64>,
    /// Connections; with --rate the most that may wait for an answer [default: 64; 256 with
    /// --rate].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: Option<u16>,
    /// With --rate, how long a request waits for a free connection before it is dropped, and
    /// counted as never sent.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    patience: Duration,
    /// How long, at most 1h.
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    duration: Duration,
    /// How much of the beginning is not measured.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    warmup: Duration,
    /// How often each kind of request comes. `confirm` and `cancel` take the oldest hold that
    /// stands, `abandon` makes a short one and never comes back, `look` reads the stock, `list` the
    /// first page of products.
    #[arg(long, default_value = "reserve=70,confirm=15,cancel=10,abandon=5")]
    mix: Mix,
    /// Holds to make before anything is measured.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=5_000_000))]
    prepare: u64,
    /// Most requests that are sent.
    #[arg(long, default_value_t = 5_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MOST_REQUESTS))]
    requests: u64,
    /// A token of role service or admin; without it one is signed with auth.jwt_secret.
    #[arg(long)]
    token: Option<String>,
    /// Writes a report with charts here: one HTML file that opens without a network.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Writes all figures here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Aims at a host that is not this machine. Only ever at one that is yours.
    #[arg(long)]
    i_own_this_host: bool,
}

/// Runs the load, prints the outcome, and fails if any answer was wrong.
pub fn run(
    args: &LoadtestArgs,
    options: &LoadOptions,
    clock: &Clock,
    out: &mut impl std::io::Write,
) -> anyhow::Result<()> {
    args.check()?;
    let target = args.target(options)?;
    let token = args.token(options, clock)?;
    // One thread: the service needs the rest of the machine, and nothing has to be locked.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let summary = local.block_on(&runtime, load(args, target, &token, clock))?;
    writeln!(out, "{}", summary.table())?;
    if let Some(path) = &args.report {
        write(path, &page::page(&summary))?;
    }
    if let Some(path) = &args.json {
        write(path, &serde_json::to_string_pretty(&summary)?)?;
    }
    anyhow::ensure!(summary.is_right(), "something was wrong: see above");
    Ok(())
}

impl LoadtestArgs {
    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.duration <= LONGEST, "--duration: at most 1h");
        anyhow::ensure!(!self.duration.is_zero(), "--duration: more than nothing");
        let sound = self.rate.is_none_or(|rate| (0.1..=1e6).contains(&rate));
        anyhow::ensure!(sound, "--rate: 0.1 to 1000000");
        Ok(())
    }

    fn target(&self, options: &LoadOptions) -> anyhow::Result<Target> {
        let owned = if self.i_own_this_host { Owned::Vouched } else { Owned::ThisMachineOnly };
        let named = options.env.iter().find(|(name, _)| name == URL_VARIABLE);
        match self.url.as_ref().or(named.map(|(_, url)| url)).filter(|url| !url.is_empty()) {
            Some(url) => Target::find(url, owned),
            None => {
                let server = Settings::load_server(options)
                    .context("without --url the settings tell the port")?;
                Target::find(&format!("http://127.0.0.1:{}", server.port), owned)
            }
        }
    }

    fn token(&self, options: &LoadOptions, clock: &Clock) -> anyhow::Result<String> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let settings = Settings::load_auth(options).context("without --token one is signed")?;
        let subject: UserId = "loadtest".parse().map_err(anyhow::Error::msg)?;
        let lifetime = self.duration + PREPARING + TOKEN_SPARE;
        let token = Tokens::new(&settings)?
            .sign(&subject, Role::Service, None, lifetime, clock.now())
            .context("no token was signed")?;
        Ok(token)
    }

    fn connections(&self) -> usize {
        let default = if self.rate.is_some() { 256 } else { 64 };
        self.connections.unwrap_or(default).into()
    }

    fn plan(&self, target: &Target) -> Plan {
        Plan {
            url: format!("http://{}{}", target.authority, target.prefix),
            sku: self.sku.to_string(),
            across: self.across,
            mix: self.mix.to_string(),
            connections: self.connections(),
            rate: self.rate,
            prepared: self.prepare,
        }
    }

    /// The stretch that is measured.
    fn stretch(&self) -> Stretch {
        let from = Instant::now() + self.warmup;
        let ends = from + self.duration;
        let pace = match self.rate {
            Some(rate) => Pace::open(rate, self.patience, ends, self.requests),
            None => Pace::closed(ends, self.requests),
        };
        Stretch {
            pace,
            dealer: RefCell::new(Dealer::new(self.mix)),
            tally: RefCell::new(Tally::between(from, ends)),
            uses_up: self.prepare > 0 && !self.mix.makes_holds() && !self.mix.reads(),
        }
    }
}

async fn load(
    args: &LoadtestArgs,
    target: Target,
    token: &str,
    clock: &Clock,
) -> anyhow::Result<Summary> {
    // Another for each run, so that no buyer has a hold of an earlier one.
    let buyers = format!("lt-{:08x}-", rand::random::<u32>());
    let skus = Rc::new(Skus::new(&args.sku, args.across)?);
    let plan = args.plan(&target);
    let mut wire = Wire::new(&target, token, &skus, &buyers);
    let mut client = Client::new(target);
    let before = proof::stocks(&mut client, &wire, &skus).await?;
    if args.mix.has(Kind::Confirm) && !has_price(&mut client, &wire, &before[0]).await? {
        wire.total_amount = Some("1");
    }
    let drive = Rc::new(Drive {
        wire,
        desk: RefCell::new(Desk::new(args.buyers, skus.count())),
        expected: Expected { skus, buyers, page: RefCell::default() },
        clock: clock.clone(),
        stopped: Cell::new(false),
    });
    tokio::task::spawn_local(stop_at_interrupt(Rc::clone(&drive)));
    let unfit = prepare(args, &drive).await?;
    let stretch = Rc::new(args.stretch());
    let bar =
        tokio::task::spawn_local(progress::show(Rc::clone(&stretch), args.warmup + args.duration));
    let watch = Watch::start();
    drive::run(&drive, &stretch, args.connections()).await;
    let busy = watch.busy();
    bar.abort();
    let proof = proof::prove(&mut client, &drive.wire, &before, &drive.desk).await?;
    for example in unfit {
        stretch.tally.borrow_mut().record_wrong(example);
    }
    let tally = stretch.tally.borrow();
    Ok(Summary::new(plan, &tally, Pacing { unsent: stretch.pace.unsent(), busy }, proof))
}

/// Makes the holds that are to stand beforehand; returns what was wrong on the way.
async fn prepare(args: &LoadtestArgs, drive: &Rc<Drive>) -> anyhow::Result<Vec<String>> {
    let (started, mut made) = (Instant::now(), 0);
    let wanted = args.prepare.min(args.buyers.unwrap_or(args.prepare));
    // Again for those that were refused, as long as others are not.
    while made < wanted {
        let pace = Pace::closed(started + PREPARING, wanted - made);
        let stretch = Rc::new(Stretch::of_holds(pace, started).map_err(anyhow::Error::msg)?);
        drive::run(drive, &stretch, PREPARING_CONNECTIONS).await;
        let tally = stretch.tally.borrow();
        if tally.wrong() > 0 || drive.stopped.get() {
            return Ok(tally.examples().to_vec());
        }
        let before = std::mem::replace(&mut made, drive.desk.borrow().standing() as u64);
        anyhow::ensure!(made > before, "only {made} of {wanted} holds could be made beforehand");
    }
    Ok(Vec::new())
}

async fn has_price(client: &mut Client, wire: &Wire, stock: &Stock) -> anyhow::Result<bool> {
    let answer = client.exchange(&wire.get(&format!("/products/{}", stock.product_id))).await?;
    let product: serde_json::Value =
        serde_json::from_slice(answer.body).context("cannot read the product")?;
    Ok(product.get("price").is_some_and(|price| !price.is_null()))
}

/// Ctrl-C ends the load, not the proof.
async fn stop_at_interrupt(drive: Rc<Drive>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        drive.stopped.set(true);
    }
}

fn write(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
