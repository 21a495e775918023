//! Whether those who sign in take the processor from those who buy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::crowd::Crowd;
use super::report::{Part, Report};
use super::world::World;
use crate::http::Call;

/// How many sign in at once.
const LOGINS: u64 = 200;
/// Between the last connection and the first login.
const STANDING: Duration = Duration::from_millis(200);
/// Holds per second meanwhile, as a share of the peak.
const SHARE: f64 = 0.25;

/// What became of those who signed in.
#[derive(Debug, Default)]
struct Answers {
    checked: AtomicU64,
    overloaded: AtomicU64,
    wrong: AtomicU64,
}

/// Measures holds without and with a crowd that signs in, in turn.
pub(super) fn measure(bench: &Bench<'_>, peak: f64, report: &mut Report) -> Result<()> {
    bench.say("holds while a crowd signs in");
    let world = World::start(bench, "round")?;
    world.make_product("LOGINS")?;
    let crowd = Crowd { connections: 256, ..Crowd::reserving("LOGINS", bench.size.seconds) };
    let crowd = Crowd { rate: Some(peak * SHARE), ..crowd };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let answers = Answers::default();
    for round in 0..bench.size.repeats {
        alone.push(crowd.visit(bench, &world)?.latency_ms("reserve", "p99"));
        let authority = world.service.authority();
        let (middle, answers) = (Duration::from_secs(bench.size.seconds) / 2, &answers);
        let figures = thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(middle);
                sign_in_all(authority, round as u64, answers);
            });
            crowd.visit(bench, &world)
        })?;
        beside.push(figures.latency_ms("reserve", "p99"));
        bench.interrupt.check()?;
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (checked, overloaded) = (count(&answers.checked), count(&answers.overloaded));
    report.notes.push(format!(
        "{LOGINS} logins at once, in each round: {checked} passwords were checked, {overloaded} logins were told to come \
         again; meanwhile {:.0} holds/s, a quarter of the peak",
        peak * SHARE
    ));
    bench.wrong(count(&answers.wrong), "a login was answered neither 401 nor 503");
    let name = "p99 of a hold, ms, a burst of 200 logins / none";
    bench.tell(report, Part::rounds(None, name, (&beside, &alone)));
    Ok(())
}

/// A burst of logins under names that nobody has: an unknown name costs the same work as a known one. The connections
/// stand before it, as those of a storefront do.
fn sign_in_all(authority: &str, round: u64, answers: &Answers) {
    let open = (0..LOGINS).filter_map(|_| Call::open(authority).ok());
    let open: Vec<Call<'_>> = open.collect();
    thread::sleep(STANDING);
    let asked = open.into_iter().zip(0..).filter_map(|(call, number)| {
        let body = format!(
            r#"{{"username":"nobody-{}","password":"correct horse"}}"#,
            round * LOGINS + number
        );
        call.ask_post("/api/auth/login", "", &body).ok()
    });
    let asked: Vec<Call<'_>> = asked.collect();
    answers.wrong.fetch_add(LOGINS - asked.len() as u64, Ordering::Relaxed);
    for call in asked {
        let counter = match call.answer() {
            Ok(answer) if answer.status == 401 => &answers.checked,
            Ok(answer) if answer.status == 503 => &answers.overloaded,
            _ => &answers.wrong,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
