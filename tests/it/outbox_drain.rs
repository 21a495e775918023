//! How fast a backlog leaves, and with how much memory. `HOLDFAST_DRAIN_EVENTS` makes the backlog greater, and
//! `HOLDFAST_DRAIN_BIN` names a release build: `HOLDFAST_DRAIN_EVENTS=100000 cargo xtask test -- --test it outbox_drain -- --nocapture`.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::{Stores, until};
use crate::process::ServiceProcess;

/// Events in the normal run.
const EVENTS: i64 = 2_000;

/// What came: calls, and the ids among them.
#[derive(Default)]
struct Heard {
    calls: usize,
    ids: HashSet<String>,
}

/// Takes everything with as little work as it can.
fn receiver() -> (SocketAddr, Arc<Mutex<Heard>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Heard::default()));
    let all = heard.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heard = all.clone();
            thread::spawn(move || take_all(stream, &heard));
        }
    });
    (address, heard)
}

fn take_all(stream: TcpStream, heard: &Mutex<Heard>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut answers = stream.try_clone().ok()?;
    let mut calls = BufReader::with_capacity(16 * 1024, stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let (mut length, mut id) = (0, String::new());
        loop {
            line.clear();
            if calls.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().ok()?,
                Some(("webhook-id", value)) => id = value.to_owned(),
                None if line == "\r\n" => break,
                _ => {}
            }
        }
        body.resize(length, 0);
        calls.read_exact(&mut body).ok()?;
        let mut heard = heard.lock().unwrap();
        heard.calls += 1;
        heard.ids.insert(id);
        drop(heard);
        answers.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    }
}

#[expect(clippy::disallowed_methods, reason = "for measuring by hand")]
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The most memory that a process has had, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_leaves_once_and_is_not_kept_in_memory() {
    let events = from_environment("HOLDFAST_DRAIN_EVENTS").and_then(|count| count.parse().ok());
    let events: i64 = events.unwrap_or(EVENTS);
    let stores = Stores::fresh().await;
    let program = from_environment("HOLDFAST_DRAIN_BIN");
    let service = ServiceProcess::start_as(program.as_deref(), &stores, &[]).await;
    let (address, heard) = receiver();
    let endpoint = json!({ "url": format!("http://{address}/hooks"), "events": ["order.paid"] });
    service.post("/api/webhook-endpoints", &service.service(), endpoint).await.expect(201);
    let before = peak_mib(service.pid());

    let backlog = "
        with made as (
            insert into orders (order_id, user_id, reservation_id, status, total_minor, currency, actor)
            select gen_random_uuid(), 'buyer-' || n, gen_random_uuid(), 'paid', 1000, 'USD', 'test'
              from generate_series(1, $1::bigint) n
            returning order_id, reservation_id, user_id
        ), item as (
            insert into order_items (order_id, product_id, sku, name, quantity, unit_price_minor)
            select order_id, 1, 'PHONE', 'Phone', 1, 1000 from made
        )
        insert into outbox (topic, reservation_id, payload)
        select 'order.paid', reservation_id,
               jsonb_build_object('order_id', order_id, 'reservation_id', reservation_id, 'user_id', user_id)
          from made";
    let postgres = stores.postgres().await;
    postgres.execute(backlog, &[&events]).await.unwrap();
    let begun = Instant::now();
    let wanted = events as usize;
    loop {
        let known = heard.lock().unwrap().ids.len();
        if known >= wanted {
            break;
        }
        // A minute for each ten thousand is more than any machine needs.
        let patience = Duration::from_secs(60 + 6 * events as u64 / 1_000);
        assert!(begun.elapsed() < patience, "{known} of {events} arrived");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = begun.elapsed();
    until("all is noted", || async {
        let left = "select (select count(*) from outbox) + (select count(*) from deliveries)";
        postgres.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    let heard = heard.lock().unwrap();
    assert_eq!((heard.calls, heard.ids.len()), (wanted, wanted), "each once");
    let peak = peak_mib(service.pid());
    println!(
        "{events} events in {took:.1?}: {:.0}/s; memory {before} MiB before, {peak} MiB at its peak",
        events as f64 / took.as_secs_f64()
    );
    assert!(peak < before + 64, "{before} MiB, then {peak} MiB");
}
