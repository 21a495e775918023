//! Runs the scripts by themselves, on keys of their own, and shows replies and keys as text that can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast::platform::lua;
use redis::Value;

/// What the scripts ask the time of; on the bench it is a key, so that a test says when time passes.
const TIME: &str = "local t = redis.call('TIME')\n  return t[1] * 1000 + math.floor(t[2] / 1000)";
const BENCH_TIME: &str = "return tonumber(redis.call('GET', S .. ':now'))";

/// The kinds of keys that a SKU has, in the order of the scripts' arguments.
const SIX: [&str; 6] = ["s", "h", "d", "p", "g", "b"];

/// Every reservation that a test may use.
pub const RIDS: [&str; 6] = ["r0", "r1", "r2", "r3", "r4", "r5"];
/// On the bench a reservation is called `r` and a digit; the scripts are given a real id that ends with it.
pub const ID: &str = "0192aaaa-0000-8000-8000-00000000000";
/// Every buyer that a test may use.
pub const USERS: [&str; 3] = ["u0", "u1", "u2"];

/// The scripts as the server gets them, perhaps changed.
#[derive(Clone)]
pub struct Scripts(BTreeMap<&'static str, Source>);

#[derive(Clone)]
struct Source {
    /// The first line and the shared part.
    head: Arc<str>,
    body: Arc<str>,
}

/// A file of `lua/`, named without its ending.
pub fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    fs::read_to_string(folder.join(format!("{name}.lua"))).unwrap()
}

impl Scripts {
    /// As they are.
    pub fn real() -> Self {
        let shared = file("record");
        let of = |script: &lua::Script| {
            let whole = script.source();
            let (head, body) = whole.split_at(whole.find(&shared).unwrap() + shared.len());
            (script.name, Source { head: head.into(), body: body.into() })
        };
        Self(lua::all().into_iter().map(of).collect())
    }

    /// As they are, except that the bench tells the time.
    pub fn on_bench_time() -> Self {
        Self::real().with_bench_time()
    }

    /// The same, except that the bench tells the time.
    pub fn with_bench_time(mut self) -> Self {
        for source in self.0.values_mut() {
            source.head = source.head.replacen(TIME, BENCH_TIME, 1).into();
        }
        self
    }

    /// With one piece of one file replaced. A change of the shared part reaches every script.
    #[track_caller]
    pub fn changed(&self, file: &str, from: &str, to: &str) -> Self {
        let mut changed = self.clone();
        for (name, source) in &mut changed.0 {
            let part = match file {
                "record" => &mut source.head,
                _ if file == *name => &mut source.body,
                _ => continue,
            };
            let found = part.matches(from).count();
            assert_eq!(found, 1, "{found} times in {file}: {from}");
            *part = part.replacen(from, to, 1).into();
        }
        changed
    }

    /// Without one line of one file, whose text this is.
    pub fn without_line(&self, file: &str, text: &str, number: usize) -> Self {
        let kept = text.lines().enumerate().filter(|(at, _)| *at != number).map(|(_, line)| line);
        let kept = kept.collect::<Vec<_>>().join("\n");
        // The first line of a script stands before the shared part.
        let body = |text: &str| text.split_once('\n').unwrap_or_default().1.to_owned();
        let (from, to) = match file {
            "record" => (text.to_owned(), kept),
            _ => (body(text), body(&kept)),
        };
        self.changed(file, &from, &to)
    }
}

/// One SKU on keys of its own, which are deleted at the end.
pub struct Bench {
    shared: bool,
    full: bool,
    sources: Scripts,
    scripts: BTreeMap<String, redis::Script>,
    prefix: String,
    redis: Option<redis::Connection>,
}

/// Everything that stands in the keys of a SKU: kind and member, then value.
pub type Dump = BTreeMap<String, String>;

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Bench {
    /// On the Redis that all tests share.
    pub fn new(scripts: &Scripts) -> Self {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let redis = idle.unwrap_or_else(|| connect(&crate::app::bench_redis_url()));
        Self::of(Some(redis), true, scripts)
    }

    /// On this Redis.
    pub fn on(url: &str, scripts: &Scripts) -> Self {
        Self::of(Some(connect(url)), false, scripts)
    }

    fn of(redis: Option<redis::Connection>, shared: bool, scripts: &Scripts) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("bench{}_{number}:", std::process::id());
        Self {
            shared,
            full: false,
            sources: scripts.clone(),
            scripts: BTreeMap::new(),
            prefix,
            redis,
        }
    }

    /// The name of a key of this SKU.
    pub fn key(&self, kind: &str, rest: &str) -> String {
        let rest = rest
            .strip_prefix(':')
            .map_or_else(|| rest.to_owned(), |name| format!(":{}", to_id(name)));
        format!("{}{kind}:{{X}}{rest}", self.prefix)
    }

    /// Runs a script with the six keys and these further ones (kind, and what follows the SKU); answers as text.
    pub fn call<A: ToString>(
        &mut self,
        script: &str,
        further: &[(&str, String)],
        arguments: &[A],
    ) -> Result<String, String> {
        let six = SIX.iter().map(|kind| self.key(kind, ""));
        let further = further.iter().map(|(kind, rest)| self.key(kind, rest));
        self.call_on(script, &six.chain(further).collect::<Vec<_>>(), arguments)
    }

    /// Runs a script with exactly these keys; answers as text.
    pub fn call_on<A: ToString>(
        &mut self,
        script: &str,
        keys: &[String],
        arguments: &[A],
    ) -> Result<String, String> {
        let source = || {
            let Source { head, body } = &self.sources.0[script];
            redis::Script::new(&format!("{head}{body}"))
        };
        let script = self.scripts.entry(script.to_owned()).or_insert_with(source);
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(key);
        }
        for argument in arguments {
            call.arg(to_id(&argument.to_string()));
        }
        let redis = self.redis.as_mut().unwrap();
        let limit = |bytes: &str| redis::cmd("CONFIG").arg(&["SET", "maxmemory", bytes]).to_owned();
        if self.full {
            limit("1").exec(redis).unwrap();
        }
        let reply: redis::RedisResult<Value> = call.invoke(redis);
        if self.full {
            limit("0").exec(redis).unwrap();
        }
        reply.map(|value| text(&value)).map_err(|error| error.to_string())
    }

    /// Runs a plain command; the first argument may be any key of this SKU.
    pub fn run(&mut self, command: &[&str]) -> Value {
        let mut cmd = redis::cmd(command[0]);
        for argument in &command[1..] {
            cmd.arg(to_id(argument));
        }
        cmd.query(self.redis.as_mut().unwrap()).unwrap()
    }

    /// Runs several plain commands.
    pub fn pipe(&mut self, commands: &redis::Pipeline) {
        commands.exec(self.redis.as_mut().unwrap()).unwrap();
    }

    /// Whether its server is out of memory while a script runs; for a server of the bench's own.
    pub fn full(&mut self, full: bool) {
        self.full = full && !self.shared;
    }

    /// Says what time it is.
    pub fn set_time(&mut self, now: i64) {
        let key = self.key("s", ":now");
        self.run(&["SET", &key, &now.to_string()]);
    }

    /// Everything that stands in the keys of this SKU.
    pub fn dump(&mut self) -> Dump {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for kind in ["s", "h", "b"] {
            pipe.hgetall(self.key(kind, ""));
        }
        for kind in ["d", "p", "g"] {
            pipe.zrange_withscores(self.key(kind, ""), 0, -1);
        }
        let singles: Vec<(&str, &str)> = singles().collect();
        for (kind, name) in &singles {
            let key = self.key(kind, &format!(":{name}"));
            pipe.get(&key).pttl(&key);
        }
        pipe.exists(self.key("bn", ""));
        pipe.cmd("XRANGE").arg(self.key("n", "")).arg("-").arg("+");
        let mut found: Vec<Value> = pipe.query(self.redis.as_mut().unwrap()).unwrap();
        let news = found.pop().unwrap();
        let staged = found.pop();
        let (hashes, rest) = found.split_at(3);
        let (scores, rest) = rest.split_at(3);
        let mut dump = Dump::new();
        if staged != Some(Value::Int(0)) {
            dump.insert("bn".to_owned(), "left behind".to_owned());
        }
        let news: Vec<(String, Vec<String>)> = redis::from_redis_value(news).unwrap();
        for (at, (_, fields)) in news.into_iter().enumerate() {
            dump.insert(format!("n {at:03}"), fields.join(" "));
        }
        for (kind, hash) in ["s", "h", "b"].iter().zip(hashes) {
            let hash: BTreeMap<String, String> = redis::from_redis_value_ref(hash).unwrap();
            dump.extend(hash.into_iter().map(|(name, value)| (format!("{kind} {name}"), value)));
        }
        for (kind, scores) in ["d", "p", "g"].iter().zip(scores) {
            let scores: Vec<(String, f64)> = redis::from_redis_value_ref(scores).unwrap();
            let scores = scores.into_iter();
            dump.extend(scores.map(|(rid, at)| (format!("{kind} {rid}"), format!("{at:.0}"))));
        }
        for ((kind, name), found) in singles.iter().zip(rest.chunks(2)) {
            let value: Option<String> = redis::from_redis_value_ref(&found[0]).unwrap();
            let left: i64 = redis::from_redis_value_ref(&found[1]).unwrap();
            if let Some(value) = value {
                let left = if left < 0 { "for ever".to_owned() } else { minutes(left).to_string() };
                dump.insert(format!("{kind} {name}"), format!("{value} {left}"));
            }
        }
        let named = |text: String| text.replace(ID, "r");
        dump.into_iter().map(|(name, value)| (named(name), named(value))).collect()
    }

    /// The keys as they are, of whatever type.
    pub fn raw(&mut self) -> Vec<Option<Vec<u8>>> {
        let mut pipe = redis::pipe();
        for kind in SIX {
            pipe.cmd("DUMP").arg(self.key(kind, ""));
        }
        pipe.cmd("DUMP").arg(self.key("n", ""));
        for (kind, name) in singles() {
            pipe.cmd("DUMP").arg(self.key(kind, &format!(":{name}")));
        }
        pipe.query(self.redis.as_mut().unwrap()).unwrap()
    }

    /// Puts this into the keys of this SKU, in place of all that stood there.
    pub fn load(&mut self, dump: &Dump) {
        self.clear();
        for (name, value) in dump {
            let (kind, member) = name.split_once(' ').unwrap();
            let key = self.key(kind, "");
            match kind {
                "d" | "p" | "g" => self.run(&["ZADD", &key, value, member]),
                "n" => {
                    let (what, told) = value.split_once(' ').unwrap();
                    self.run(&["XADD", &key, "*", what, told])
                }
                "t" | "c" => {
                    let (value, left) = value.split_once(' ').unwrap();
                    let left = left.parse::<i64>().unwrap() * MINUTE;
                    let key = self.key(kind, &format!(":{member}"));
                    self.run(&["SET", &key, value, "PX", &left.to_string()])
                }
                _ => self.run(&["HSET", &key, member, value]),
            };
        }
    }

    /// Deletes all keys of this SKU but its clock.
    pub fn clear(&mut self) {
        let mut keys: Vec<String> = SIX.iter().map(|kind| self.key(kind, "")).collect();
        keys.push(self.key("bn", ""));
        keys.push(self.key("n", ""));
        keys.push(self.key("x", ""));
        keys.extend(singles().map(|(kind, name)| self.key(kind, &format!(":{name}"))));
        redis::cmd("DEL").arg(keys).exec(self.redis.as_mut().unwrap()).unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.clear();
            let key = self.key("s", ":now");
            self.run(&["DEL", &key]);
            if self.shared {
                let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
                idle.extend(self.redis.take());
            }
        }
    }
}

/// Connections to the shared Redis that no bench has at the moment.
static IDLE: Mutex<Vec<redis::Connection>> = Mutex::new(Vec::new());

fn connect(url: &str) -> redis::Connection {
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

/// The keys of one reservation (its timer) and of one buyer (the churn).
fn singles() -> impl Iterator<Item = (&'static str, &'static str)> {
    RIDS.iter().map(|rid| ("t", *rid)).chain(USERS.iter().map(|user| ("c", *user)))
}

const MINUTE: i64 = 60_000;

/// Lifetimes on the bench are whole minutes, so that the milliseconds a test takes change none.
pub fn minutes(ms: i64) -> i64 {
    (ms + MINUTE - 1) / MINUTE
}

/// The id that the scripts are given for such a name, word by word.
fn to_id(text: &str) -> String {
    let word = |word: &str| match word.as_bytes() {
        [b'r', digit] if digit.is_ascii_digit() => format!("{ID}{}", &word[1..]),
        _ => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A reply as the scripts' headers write them.
pub fn text(value: &Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::BulkString(bytes) if bytes.is_empty() => "''".to_owned(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).replace(ID, "r"),
        Value::SimpleString(text) => text.clone(),
        Value::Okay => "OK".to_owned(),
        Value::Nil => "nil".to_owned(),
        Value::Array(items) => {
            format!("{{{}}}", items.iter().map(text).collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}
