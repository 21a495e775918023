//! Checks of scripts that work on all holds of a SKU, and of the clock by which they expire.

use redis::Value;

use crate::scripts_bench::{Bench, Scripts};
use crate::scripts_checks::{Further, expect, opened};

const NOW: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;

pub fn further() -> Vec<Further> {
    vec![
        (
            "while the expiry clock stands nobody's time runs, and then all of it is left",
            &[
                "clock", "reserve", "read", "find", "ended", "audit", "expire", "extend", "cancel",
                "terms", "arm", "pin",
            ],
            clock,
        ),
        ("a state of the clock that is older changes nothing", &["clock"], versions),
        ("all holds get more time, each once", &["extend_all"], extension),
        ("an operation on all holds waits for another one", &["extend_all"], rivals),
        ("what may not get more time gets none", &["extend_all"], limits),
        (
            "who moves a deadline while all holds get more time has both, each once",
            &["extend_all"],
            moving,
        ),
        ("a walk that begins anew moves nothing twice", &["extend_all"], anew),
        ("whoever wants to hear of holds is told of all that got more time", &["extend_all"], told),
        ("a draining sale takes no holds", &["reserve"], draining),
        ("a closed sale releases its holds, page by page", &["close_all"], closing),
        ("a closed sale goes past lines that stay", &["close_all"], staying),
        ("live records are listed page by page", &["holds"], pages),
        (
            "what is done to all holds asks for the rebuild first",
            &["extend_all", "close_all", "holds"],
            closed,
        ),
    ]
}

/// So long that Redis keeps records in a table, which is walked page by page.
const EMAIL: &str = "somebody-with-a-name-that-does-not-end-before-the-page@example.org";

/// Holds one unit until `ttl` from now, as one of several lines perhaps.
fn hold(bench: &mut Bench, number: usize, ttl: i64, lines: &str) -> Result<String, String> {
    let further = [("t", format!(":r{number}")), ("c", format!(":u{}", number % 3))];
    // More holds than buyers: each under a name of its own.
    let arguments = [
        "600000".to_owned(),
        "0".into(),
        "0".into(),
        format!("r{number}"),
        "aa".into(),
        format!("b{number}"),
        format!("1 {ttl} {lines} 0 {EMAIL}"),
    ];
    bench.call("reserve", &further, &arguments)
}

fn field(bench: &mut Bench, name: &str) -> String {
    bench.dump().get(name).cloned().unwrap_or_default()
}

/// The deadline in a record as a script shows it.
fn deadline(bench: &mut Bench, number: usize) -> Result<i64, String> {
    let read = bench.call("read", &[], &[format!("r{number}")])?;
    let deadline = read.split(' ').nth(6).and_then(|text| text.parse().ok());
    deadline.ok_or_else(|| format!("no deadline in {read}"))
}

/// One word of a reply.
fn word<'a>(words: &[&'a str], at: usize) -> Result<&'a str, String> {
    words.get(at).copied().ok_or_else(|| format!("no word {at} in {words:?}"))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?} is not {wanted:?}")) }
}

fn clock(scripts: &Scripts) -> Result<(), String> {
    let mut bench = opened(scripts, 4, NOW)?;
    hold(&mut bench, 0, MINUTE, "-")?;
    hold(&mut bench, 1, 2 * MINUTE, "-")?;
    let freeze = bench.call("clock", &[], &[1, 7, NOW + 1_000]);
    expect("freeze", freeze, &format!("{{0 {NOW} 0}}"))?;
    // 1: ten minutes pass and nobody's time does. A lag of 7 ms was there before, by which all have a little more.
    let now = NOW + 10 * MINUTE;
    bench.set_time(now);
    let left = MINUTE - 1_000 + 7;
    expect("expire", bench.call("expire", &[], &[64]), &format!("{{0 0 0 0 {now}}}"))?;
    same("shown", deadline(&mut bench, 0)?, now + left)?;
    let found = bench.call("find", &[], &["b0"])?;
    same("found", found.contains(&format!(" {} ", now + left)), true)?;
    let audit = bench.call::<i64>("audit", &[], &[])?;
    same("audit", audit.split(' ').nth(10), Some("0"))?;
    hold(&mut bench, 2, MINUTE, "@")?;
    same("new", deadline(&mut bench, 2)?, now + MINUTE)?;
    let armed = bench.call(
        "arm",
        &[("t", ":r2".to_owned())],
        &["r2".to_owned(), (now + 3 * MINUTE).to_string()],
    );
    expect("arm", armed, "{0}")?;
    let to = (now + left + MINUTE).to_string();
    let extended = bench.call("extend", &[("t", ":r0".to_owned())], &["r0", "b0", "0", &to]);
    expect("extend", extended, &format!("{{0 {to}}}"))?;
    let pinned = bench.call("pin", &[("t", ":r1".to_owned())], &["r1", "b1", "0"])?;
    same("pin", pinned.contains(&format!(" {} ", now + 2 * MINUTE - 1_000 + 7)), true)?;
    let full = hold(&mut bench, 3, MINUTE, "-").and_then(|_| hold(&mut bench, 4, MINUTE, "-"))?;
    same("sold out, and nobody knows until when", full.contains("{3 0 0}"), true)?;
    // 2: what stands in Redis stands there by the clock, in record and index.
    let stands = NOW + 1_000 - 7 + left + MINUTE;
    same("index", field(&mut bench, "d r0"), stands.to_string())?;
    same("record", field(&mut bench, "h r0").split(' ').nth(4), Some(stands.to_string().as_str()))?;

    // 3: it goes on, and a minute later a minute is gone.
    let lag = 7 + (now - NOW - 1_000);
    let thaw = bench.call("clock", &[], &[2, lag, 0]);
    expect("thaw", thaw, &format!("{{0 {now} {}}}", now + MINUTE))?;
    let now = now + MINUTE - 1;
    bench.set_time(now);
    expect("not yet", bench.call("expire", &[], &[64]), &format!("{{0 0 0 {} {now}}}", now + 1))?;
    let terms =
        |bench: &mut Bench| bench.call("terms", &[], &["0", "0", "0", "0", "open", "1", "1"]);
    expect("terms", terms(&mut bench), "{1 4}")?;
    let now = now + 1;
    bench.set_time(now);
    // r3 is due: it counts no more, and is swept.
    expect("terms", terms(&mut bench), "{1 3}")?;
    let next = now + left;
    expect("expire", bench.call("expire", &[], &[64]), &format!("{{0 1 0 {next} {now}}}"))?;
    same("still", deadline(&mut bench, 0)?, now + left)?;
    let ended = bench.call("ended", &[], &[0, 10])?;
    same("tombstone", ended.split(' ').nth(7), Some(now.to_string().as_str()))?;
    let cancelled = bench.call(
        "cancel",
        &[("t", ":r0".to_owned()), ("c", ":u0".to_owned())],
        &["r0", "b0", "x", "cancelled", "0"],
    )?;
    same("cancel", cancelled.contains(&format!(" {} ", now + left)), true)?;
    // 4: pins and ends have their own moments, and nothing held is nothing due.
    let audit = bench.call::<i64>("audit", &[], &[])?;
    let pinned = (NOW + 10 * MINUTE).to_string();
    same("oldest pin", audit.split(' ').nth(11), Some(pinned.as_str()))?;
    bench.call(
        "cancel",
        &[("t", ":r2".to_owned()), ("c", ":u2".to_owned())],
        &["r2", "b2", "x", "cancelled", "0"],
    )?;
    expect("none", bench.call("expire", &[], &[64]), &format!("{{0 0 0 0 {now}}}"))
}

fn versions(scripts: &Scripts) -> Result<(), String> {
    let mut bench = opened(scripts, 4, NOW)?;
    hold(&mut bench, 0, MINUTE, "-")?;
    for (version, lag, frozen, wanted) in
        [(3, 5, 0, "5"), (3, 9, 0, "5"), (2, 9, 0, "5"), (4, 6, 0, "6")]
    {
        bench.call("clock", &[], &[version, lag, frozen])?;
        same("lag", field(&mut bench, "s lag"), wanted.to_owned())?;
    }
    // A server whose clock went back takes nobody's time either.
    bench.call("clock", &[], &[5, 0, NOW + 500])?;
    same("frozen later", deadline(&mut bench, 0)?, NOW + MINUTE)?;
    hold(&mut bench, 1, MINUTE, "-")?;
    let record = field(&mut bench, "h r1");
    let index = field(&mut bench, "d r1");
    same("record and index", record.split(' ').nth(4), Some(index.as_str()))?;
    same("by the server's clock", deadline(&mut bench, 1)?, NOW + MINUTE)?;
    bench.call("clock", &[], &[6, 0, NOW + MINUTE])?;
    bench.set_time(NOW + MINUTE - 100);
    bench.call("expire", &[], &[64])?;
    same("still in the index", field(&mut bench, "d r0"), (NOW + MINUTE).to_string())?;
    bench.set_time(NOW);
    // It is told to a SKU that is not open, too, and before there is one.
    let stock = bench.key("s", "");
    bench.run(&["HDEL", &stock, "ready"]);
    expect("closed", bench.call("clock", &[], &[7, 1, 0]), &format!("{{0 {NOW} 0}}"))?;
    bench.run(&["DEL", &stock]);
    expect("absent", bench.call("clock", &[], &[1, 2, 0]), &format!("{{0 {NOW} 0}}"))?;
    same("lag", field(&mut bench, "s lag"), "2".to_owned())
}

/// Six holds, of which two share a deadline; r4 is pinned, r5 is a line of several.
fn six(scripts: &Scripts) -> Result<Bench, String> {
    let mut bench = opened(scripts, 9, NOW)?;
    for (number, ttl) in
        [MINUTE, 2 * MINUTE, 2 * MINUTE, 3 * MINUTE, MINUTE].into_iter().enumerate()
    {
        hold(&mut bench, number, ttl, "-")?;
    }
    hold(&mut bench, 5, 2 * MINUTE, "X,Y")?;
    bench.call("pin", &[("t", ":r4".to_owned())], &["r4", "b4", "0"])?;
    Ok(bench)
}

fn extend_all(bench: &mut Bench, operation: &str, more: i64, most: i64) -> Result<String, String> {
    let arguments =
        [operation.to_owned(), more.to_string(), (30 * MINUTE).to_string(), most.to_string()];
    bench.call("extend_all", &[("x", String::new())], &arguments)
}

/// The holds of a minute that a crowd has: more than a page.
const CROWD: usize = 40;

fn crowd(scripts: &Scripts) -> Result<Bench, String> {
    let mut bench = opened(scripts, 2 * CROWD, NOW)?;
    for number in 0..CROWD {
        hold(&mut bench, number, MINUTE, "-")?;
    }
    Ok(bench)
}

fn begin(bench: &mut Bench, more: i64) -> Result<(), String> {
    let begun = extend_all(bench, "op1", more, 1)?;
    same("more to do", begun.starts_with("{0 "), true)
}

fn extension(scripts: &Scripts) -> Result<(), String> {
    for most in [1, 2, 5, 100] {
        let mut bench = six(scripts)?;
        let mut last = String::new();
        for _ in 0..20 {
            last = extend_all(&mut bench, "op1", MINUTE / 2, most)?;
            if last.starts_with("{1") {
                break;
            }
        }
        expect("done", Ok(last), "{1 4 0 1}")?;
        for (number, ttl) in [MINUTE, 2 * MINUTE, 2 * MINUTE, 3 * MINUTE].into_iter().enumerate() {
            same("moved", deadline(&mut bench, number)?, NOW + ttl + MINUTE / 2)?;
            let score = field(&mut bench, &format!("d r{number}"));
            same("index", score, (NOW + ttl + MINUTE / 2).to_string())?;
        }
        same("several", deadline(&mut bench, 5)?, NOW + 2 * MINUTE)?;
        same("pinned", deadline(&mut bench, 4)?, NOW + MINUTE)?;
        expect("again", extend_all(&mut bench, "op1", MINUTE / 2, most), "{1 4 0 1}")?;
        same("once", deadline(&mut bench, 0)?, NOW + MINUTE + MINUTE / 2)?;
        expect("next", extend_all(&mut bench, "op2", MINUTE, 100), "{1 4 0 1}")?;
        same("twice", deadline(&mut bench, 0)?, NOW + 2 * MINUTE + MINUTE / 2)?;
    }
    Ok(())
}

fn rivals(scripts: &Scripts) -> Result<(), String> {
    let mut bench = crowd(scripts)?;
    begin(&mut bench, 1_000)?;
    expect("waits", extend_all(&mut bench, "op2", 2_000, 2), "{2 op1 1000}")?;
    expect("goes on", extend_all(&mut bench, "op1", 1_000, 100), "{1 40 0 0}")?;
    expect("has its turn", extend_all(&mut bench, "op2", 2_000, 100), "{1 40 0 0}")?;
    same("both", deadline(&mut bench, 0)?, NOW + MINUTE + 3_000)
}

fn moving(scripts: &Scripts) -> Result<(), String> {
    let mut bench = crowd(scripts)?;
    let more = MINUTE / 2;
    begin(&mut bench, more)?;
    let mut wanted = Vec::new();
    for number in 0..CROWD {
        let timer = [("t", format!(":r{number}"))];
        let (rid, stands) = (format!("r{number}"), deadline(&mut bench, number)?);
        if number < CROWD / 2 {
            // Its buyer takes ten minutes more.
            let to = (stands + 10 * MINUTE).to_string();
            bench.call("extend", &timer, &[rid, format!("b{number}"), "0".to_owned(), to])?;
            wanted.push(NOW + 11 * MINUTE + more);
        } else {
            // The hold time of what runs is shortened, and what the hold had got goes with it.
            let arguments = [(MINUTE / 3).to_string(), (30 * MINUTE).to_string(), rid];
            bench.call("retime", &timer, &arguments)?;
            let met = stands > NOW + MINUTE;
            wanted.push(NOW + MINUTE / 3 + if met { 0 } else { more });
        }
    }
    for _ in 0..2 * CROWD {
        extend_all(&mut bench, "op1", more, 1)?;
    }
    expect("done", extend_all(&mut bench, "op1", more, 1), "{1 40 0 0}")?;
    for (number, wanted) in wanted.into_iter().enumerate() {
        same("each once", deadline(&mut bench, number)?, wanted)?;
    }
    Ok(())
}

fn anew(scripts: &Scripts) -> Result<(), String> {
    let mut bench = crowd(scripts)?;
    begin(&mut bench, MINUTE / 2)?;
    let (stock, seen) = (bench.key("s", ""), bench.key("x", ""));
    let left = bench.run(&["PTTL", &seen]);
    same("whom it met lapses", matches!(left, Value::Int(1..)), true)?;
    bench.set_time(NOW + 1);
    hold(&mut bench, CROWD, MINUTE, "-")?;
    // Another process, in which this cursor is that of the end.
    let so_far = field(&mut bench, "s extension");
    let mut fields: Vec<&str> = so_far.split(' ').collect();
    *fields.get_mut(4).ok_or("no cursor")? = "4294967295";
    bench.run(&["HSET", &stock, "epoch", "2"]);
    bench.run(&["HSET", &stock, "extension", &fields.join(" ")]);
    expect("all", extend_all(&mut bench, "op1", MINUTE / 2, 100), "{1 40 0 0}")?;
    for number in 0..CROWD {
        same("once", deadline(&mut bench, number)?, NOW + MINUTE + MINUTE / 2)?;
    }
    same("made after it began", deadline(&mut bench, CROWD)?, NOW + 1 + MINUTE)?;
    same("nothing is left", bench.run(&["EXISTS", &seen]), Value::Int(0))
}

fn limits(scripts: &Scripts) -> Result<(), String> {
    let mut bench = six(scripts)?;
    expect("far", extend_all(&mut bench, "op1", 29 * MINUTE, 100), "{1 4 0 1}")?;
    same("as long as may be", deadline(&mut bench, 3)?, NOW + 30 * MINUTE)?;
    expect("farther", extend_all(&mut bench, "op2", MINUTE, 100), "{1 0 4 1}")?;
    same("no longer", deadline(&mut bench, 3)?, NOW + 30 * MINUTE)?;
    // What is due is over, swept or not.
    let mut bench = six(scripts)?;
    bench.set_time(NOW + MINUTE);
    expect("due", extend_all(&mut bench, "op1", MINUTE, 100), "{1 3 0 1}")?;
    same("left alone", deadline(&mut bench, 0)?, NOW + MINUTE)?;
    // Nothing at all.
    let mut bench = opened(scripts, 9, NOW)?;
    expect("nothing", extend_all(&mut bench, "op1", MINUTE, 1), "{1 0 0 0}")
}

fn told(scripts: &Scripts) -> Result<(), String> {
    let mut bench = six(scripts)?;
    let arguments = ["op1".to_owned(), "1000".into(), (30 * MINUTE).to_string(), "100".into()];
    bench.call("extend_all", &[("x", String::new()), ("n", String::new())], &arguments)?;
    let told = bench.dump().keys().filter(|name| name.starts_with("n ")).count();
    same("told", told, 4)
}

fn draining(scripts: &Scripts) -> Result<(), String> {
    let mut bench = opened(scripts, 9, NOW)?;
    let stock = bench.key("s", "");
    bench.run(&["HSET", &stock, "sale", "draining"]);
    expect("draining", hold(&mut bench, 0, MINUTE, "-"), &format!("{{0 {NOW} 0 {{6}}}}"))
}

fn close_all(bench: &mut Bench, after: &[String; 2], most: i64) -> Result<String, String> {
    let [score, rid] = after.clone();
    bench.call(
        "close_all",
        &[],
        &["boss".to_owned(), "sale_closed".into(), score, rid, most.to_string()],
    )
}

fn closing(scripts: &Scripts) -> Result<(), String> {
    let start = ["0".to_owned(), "-".to_owned()];
    // What is released is not listed too.
    let mut bench = opened(scripts, 9, NOW)?;
    hold(&mut bench, 0, MINUTE, "-")?;
    let stock = bench.key("s", "");
    bench.run(&["HSET", &stock, "sale", "closed"]);
    expect("alone", close_all(&mut bench, &start, 100), &format!("{{0 {NOW} 1 0 -}}"))?;
    for most in [1, 2, 3, 100] {
        let mut bench = six(scripts)?;
        expect("open", close_all(&mut bench, &start, most), "{1}")?;
        let stock = bench.key("s", "");
        bench.run(&["HSET", &stock, "sale", "closed"]);
        bench.set_time(NOW + MINUTE);
        let (mut after, mut released, mut several) = (start.clone(), 0, 0);
        for _ in 0..20 {
            let reply = close_all(&mut bench, &after, most)?;
            // An answer that was lost: asked again from the same place nothing is released twice.
            let again = close_all(&mut bench, &after, most)?;
            let parts = |reply: &str| -> Vec<String> {
                reply.trim_matches(['{', '}']).split(' ').map(str::to_owned).collect()
            };
            for reply in [&again, &reply] {
                let parts = parts(reply);
                let words: Vec<&str> = parts.iter().map(String::as_str).collect();
                released += word(&words, 2)?.parse::<i64>().unwrap_or(99);
                same("the time", word(&words, 1)?, (NOW + MINUTE).to_string().as_str())?;
                several += usize::from(words.len() > 5);
                after = [word(&words, 3)?.to_owned(), word(&words, 4)?.to_owned()];
            }
            if after[1] == "-" {
                break;
            }
        }
        same("released", released, 3)?;
        if several == 0 {
            return Err("the line of several is not listed".to_owned());
        }
        for (number, wanted) in
            [(0, "E n 1 aa"), (1, "E n 1 aa"), (3, "E n 1 aa"), (4, "P n 1 aa"), (5, "H n 1 aa")]
        {
            let record = field(&mut bench, &format!("h r{number}"));
            same("record", record.starts_with(wanted), true)?;
        }
        let due = field(&mut bench, "h r0");
        same("what was due", due.ends_with(&format!("expired {} clock", NOW + MINUTE)), true)?;
        let ended = field(&mut bench, "h r1");
        same("who and why", ended.ends_with(&format!("sale_closed {} boss", NOW + MINUTE)), true)?;
        same("units", field(&mut bench, "s avail"), "7".to_owned())?;
    }
    Ok(())
}

/// Lines that stay are gone past, however many there are.
fn staying(scripts: &Scripts) -> Result<(), String> {
    let mut bench = opened(scripts, 9, NOW)?;
    for number in 0..3 {
        hold(&mut bench, number, MINUTE, "@")?;
    }
    hold(&mut bench, 3, 2 * MINUTE, "-")?;
    let stock = bench.key("s", "");
    bench.run(&["HSET", &stock, "sale", "closed"]);
    let mut after = ["0".to_owned(), "-".to_owned()];
    for _ in 0..4 {
        let reply = close_all(&mut bench, &after, 1)?;
        let words: Vec<&str> = reply.trim_matches(['{', '}']).split(' ').collect();
        after = [word(&words, 3)?.to_owned(), word(&words, 4)?.to_owned()];
    }
    let record = field(&mut bench, "h r3");
    same("the last one is released", record.starts_with("E "), true)
}

fn pages(scripts: &Scripts) -> Result<(), String> {
    for most in [1, 2, 100] {
        let mut bench = six(scripts)?;
        let stock = bench.key("s", "");
        bench.run(&["HSET", &stock, "lag", "7"]);
        let (mut found, mut after) = (Vec::new(), ["0".to_owned(), "-".to_owned()]);
        for turn in 0..20 {
            let [score, rid] = after.clone();
            let page = bench.call("holds", &[], &["H".to_owned(), score, rid, most.to_string()])?;
            let words: Vec<&str> = page.trim_matches(['{', '}']).split(' ').collect();
            same("time", word(&words, 1)?, NOW.to_string().as_str())?;
            let rows: Vec<&[&str]> = words.get(2..).unwrap_or_default().chunks(13).collect();
            for row in &rows {
                let score: i64 =
                    word(row, 0)?.parse().map_err(|error| format!("{page}: {error}"))?;
                same(
                    "shown by the server's clock",
                    word(row, 6)?,
                    (score + 7).to_string().as_str(),
                )?;
                found.push(word(row, 1)?.to_owned());
            }
            let Some(last) = rows.last() else { break };
            after = [word(last, 0)?.to_owned(), word(last, 1)?.to_owned()];
            if turn == 1 && most == 1 {
                // The place is gone meanwhile: the next one stays the next.
                let keys = [("t", ":r1".to_owned()), ("c", ":u1".to_owned())];
                bench.call("cancel", &keys, &["r1", "b1", "x", "cancelled", "0"])?;
            }
        }
        same("in order", found.join(" "), "r0 r1 r2 r5 r3".to_owned())?;
        let pinned = bench.call("holds", &[], &["P", "0", "-", "9"])?;
        same("pinned", pinned.matches("r4").count(), 1)?;
        same("only pinned", pinned.contains("r0"), false)?;
        // A tombstone's place is nobody's record.
        let due = bench.key("d", "");
        bench.run(&["ZADD", &due, "1", "r5"]);
        let records = bench.key("h", "");
        bench.run(&["HDEL", &records, "r5"]);
        let page = bench.call("holds", &[], &["H", "0", "-", "1"]);
        expect("stray", page, &format!("{{0 {NOW} 1 r5 ''}}"))?;
    }
    Ok(())
}

fn closed(scripts: &Scripts) -> Result<(), String> {
    let mut bench = six(scripts)?;
    let stock = bench.key("s", "");
    bench.run(&["HDEL", &stock, "ready"]);
    let start = ["0".to_owned(), "-".to_owned()];
    expect("extend_all", extend_all(&mut bench, "op1", 1, 1), "{100}")?;
    expect("close_all", close_all(&mut bench, &start, 1), "{100}")?;
    expect("holds", bench.call("holds", &[], &["H", "0", "-", "1"]), "{100}")
}
