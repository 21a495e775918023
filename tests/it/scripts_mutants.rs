//! Do the tests notice when a script loses a guard? Every line of every script is taken out, one at a time, and a table
//! of subtler changes is made; each must make one of the checks fail.

use crate::scripts_bench::{self, Scripts};
use crate::scripts_checks::further;
use crate::scripts_clock;
use crate::scripts_model::Op;
use crate::scripts_properties::conform;
use crate::scripts_scenarios::scenarios;

/// One thing that the scripts must pass.
struct Check {
    name: &'static str,
    /// The scripts that it runs, besides the rebuild that opens the SKU.
    scripts: Vec<&'static str>,
    run: Box<Run>,
}

type Run = dyn Fn(&Scripts) -> Result<(), String>;

fn checks() -> Vec<Check> {
    let stories = scenarios().into_iter().map(|(name, ops)| Check {
        name,
        scripts: ops.iter().filter_map(Op::script).collect(),
        run: Box::new(move |scripts| conform(scripts, &ops)),
    });
    let further = further()
        .into_iter()
        .chain(scripts_clock::further())
        .map(|(name, scripts, run)| Check { name, scripts: scripts.to_vec(), run: Box::new(run) });
    stories.chain(further).collect()
}

/// Whether a check fails with these scripts. The one that does is asked first the next time, because what stands near
/// in a file is mostly noticed by the same.
fn noticed(checks: &mut Vec<Check>, file: &str, scripts: &Scripts) -> bool {
    let fails = |check: &Check| {
        let concerned = ["record", "rebuild", "claim", "stage"].contains(&file)
            || check.scripts.contains(&file);
        concerned && (check.run)(scripts).is_err()
    };
    let Some(at) = checks.iter().position(fails) else { return false };
    let check = checks.remove(at);
    checks.insert(0, check);
    true
}

#[test]
fn the_scripts_as_they_are_pass_every_check() {
    let scripts = Scripts::on_bench_time();
    for check in checks() {
        if let Err(error) = (check.run)(&scripts) {
            panic!("{}: {error}", check.name);
        }
    }
}

/// Without these a script is still right, but holds up the Redis of all tests for seconds.
const SLOW: [&str; 2] = [
    "    lives[user] = false",
    "  changed_records, changed_buyers, packed_records, opened, closed, ended = {}, {}, {}, {}, {}, {}",
];

#[test]
fn no_line_of_a_script_can_be_taken_out_unnoticed() {
    let real = Scripts::real();
    let mut checks = checks();
    let mut unnoticed = Vec::new();
    for file in files() {
        let text = scripts_bench::file(file);
        for (number, line) in text.lines().enumerate() {
            let prose = line.trim().is_empty() || line.trim().starts_with("--");
            if prose || line.starts_with("#!") || SLOW.contains(&line) {
                continue;
            }
            let changed = real.without_line(file, &text, number).with_bench_time();
            if !noticed(&mut checks, file, &changed) {
                unnoticed.push(format!("{file}.lua:{}: {line}", number + 1));
            }
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

fn files() -> Vec<&'static str> {
    let scripts = holdfast::platform::lua::all();
    scripts.iter().map(|script| script.name).chain(["record"]).collect()
}

/// File, what stands there, what a careless hand makes of it, and what that line guards.
type Mutant = (&'static str, &'static str, &'static str, &'static str);

const MUTANTS: &[Mutant] = &[
    ("record", "now - LAG, 'LIMIT'", "now, 'LIMIT'", "freeze: reaping goes by the expiry clock"),
    (
        "record",
        "if since > 0 then LAG, FROZEN = LAG + math.max(0, now_ms() - since), true end",
        "",
        "freeze: a clock that stands falls behind",
    ),
    (
        "record",
        "math.max(0, now_ms() - since)",
        "now_ms() - since",
        "freeze: a server whose clock went back",
    ),
    (
        "record",
        "return FROZEN and 0 or score + LAG",
        "return score + LAG",
        "freeze: nothing is due while it stands",
    ),
    (
        "record",
        "return FROZEN and 0 or score + LAG",
        "return FROZEN and 0 or score",
        "thaw: what is due is told by the server's clock",
    ),
    (
        "record",
        "if r and LAG > 0 then r[DEADLINE] = string.format('%d', r[DEADLINE] + LAG) end",
        "",
        "freeze: deadlines are shown by the server's clock",
    ),
    ("record", "opened[i] - LAG", "opened[i]", "freeze: the index goes by the expiry clock"),
    (
        "record",
        "r[DEADLINE] = string.format('%d', deadline - LAG)",
        "r[DEADLINE] = string.format('%d', deadline)",
        "freeze: records go by the expiry clock",
    ),
    (
        "record",
        "  local packed = table.concat(r, ' ')\n  r[DEADLINE] = deadline\n",
        "  local packed = table.concat(r, ' ')\n",
        "freeze: what is written is not what the call goes on with",
    ),
    (
        "terms",
        "now_ms() - LAG",
        "now_ms()",
        "freeze: what is due by the expiry clock is held by nobody",
    ),
    (
        "clock",
        "< tonumber(ARGV[1])",
        "<= tonumber(ARGV[1])",
        "a state that was told is not told anew",
    ),
    (
        "clock",
        "if (tonumber(redis.call('HGET', S, 'clock') or -1) or -1) < tonumber(ARGV[1]) then",
        "if true then",
        "an older state of the clock comes too late",
    ),
    (
        "extend_all",
        "if op[9] == '1' then return",
        "if false then return",
        "an operation that is done is done once",
    ),
    (
        "extend_all",
        "if meant and redis.call('SADD', X, rid) == 1 then",
        "if meant then",
        "a record that is met again is moved once",
    ),
    (
        "extend_all",
        " and tonumber(r[CREATED]) <= tonumber(op[3])",
        "",
        "a hold that came after it began",
    ),
    (
        "extend_all",
        "if op[1] and op[1] ~= ARGV[1] and op[9] ~= '1' then",
        "if false then",
        "one operation after the other",
    ),
    ("extend_all", "and not is_due(r, now) and", "and", "what has expired stays so"),
    (
        "extend_all",
        "math.min(r[DEADLINE] + more, r[CREATED] + life)",
        "r[DEADLINE] + more",
        "the longest life",
    ),
    (
        "close_all",
        "if redis.call('HGET', S, 'sale') ~= 'closed' then return { 1 } end",
        "",
        "a sale that was opened again",
    ),
    (
        "close_all",
        "r[STATE] == HELD and r[LINES] == '-' then",
        "r[STATE] == HELD then",
        "several products end by their home line",
    ),
    ("reserve", " or terms[5] == 'draining'", "", "a draining sale takes no holds"),
    (
        "close_all",
        "local from = ARGV[4] == '-' and 0 or rank(D, ARGV[3], ARGV[4])",
        "local from = 0",
        "every page once",
    ),
    ("rebuild", "#rid == 36 and ", "", "a name that is no id"),
    ("rebuild", "string.find(rid, ID) and ", "", "a name that is no id"),
    ("rebuild", "'^([HPSE]) ", "'^(%S+) ", "a state that nobody knows"),
    ("rebuild", "#cap) <= 15", "#cap) <= 99", "a number too great to count with"),
    (
        "rebuild",
        "(%d+) (%d+) (%d+) (%d+) %S+",
        "(%S+) (%d+) (%d+) (%d+) %S+",
        "a deadline that is none",
    ),
    ("rebuild", "(%d+) (%d+) %S+", "(%S+) (%S+) %S+", "a count that is none"),
    ("audit", " - redis.call('ZCARD', G)", "", "records that no index has"),
    (
        "arm",
        "if r and (r[STATE] == PINNED or r[STATE] == SOLD) then return { 0 } end",
        "",
        "a line that is sold counts as armed",
    ),
    (
        "rebuild",
        "if tonumber(stored[6] or -1) ~= epoch then return { 1 } end",
        "",
        "whoever claimed last applies",
    ),
    (
        "rebuild",
        "if tonumber(stored[6] or -1) ~= epoch",
        "if tonumber(stored[6] or epoch) ~= epoch",
        "a forgotten claim is none",
    ),
    (
        "rebuild",
        "if redis.call('HLEN', BN) ~= tonumber(ARGV[12]) then return { 1 } end",
        "",
        "all buyers or none",
    ),
    ("stage", "redis.call('EXPIRE', BN, ARGV[1])", "", "what is staged lapses"),
    ("stage", "for i = 2, #ARGV, 2 do", "for i = 4, #ARGV, 2 do", "the first buyer of a chunk"),
    ("stage", "for i = 2, #ARGV, 2 do", "for i = 2, #ARGV - 2, 2 do", "the last buyer of a chunk"),
    ("claim", "if claim > tonumber(ARGV[1]) then return { 1 } end", "", "a later claim stays"),
    (
        "claim",
        "if claim > tonumber(ARGV[1])",
        "if claim >= tonumber(ARGV[1])",
        "a claim may be repeated",
    ),
    (
        "claim",
        "if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', S) end",
        "",
        "INV12: keys of other types",
    ),
    (
        "record",
        "if buyer.slot == rid then buyer.slot = '-' end",
        "",
        "A3: slot cleared with its record",
    ),
    (
        "record",
        "if buyer.slot == rid then buyer.slot = '-' end",
        "buyer.slot = '-'",
        "A3: slot cleared only if own",
    ),
    (
        "reserve",
        "buyer.live + bought + delta > cap",
        "bought + delta > cap",
        "B1: live counted in the cap",
    ),
    (
        "rebuild",
        "for _, user in ipairs(strangers) do redis.call('HDEL', B, user) end",
        "",
        "L1: buyers rebuilt",
    ),
    ("rebuild", "write('HSET', B, entries)", "", "L1: buyers rebuilt"),
    ("rebuild", "if entry ~= packed then", "if false then", "L1: buyers rebuilt"),
    (
        "rebuild",
        "    redis.call('DEL', index)\n    write('ZADD', index, scores)\n",
        "",
        "what is in an index besides is nobody's",
    ),
    ("rebuild", "bought = bought[user] or 0", "bought = 0", "L2: bought from Postgres"),
    (
        "rebuild",
        "math.max(back[user], whole(string.match(packed, '^%S+ %S+ %S+ (%S+)')) or 0)",
        "back[user]",
        "G1: back only grows",
    ),
    (
        "rebuild",
        "math.max(back[user], whole(",
        "math.max(back[user] + (tonumber(string.match(packed, '^%S+ %S+ %S+ (%S+)')) or 0), whole(",
        "G1: back is a state",
    ),
    ("rebuild", "math.max(back[user], whole(", "math.max(0, whole(", "G1: back is a state"),
    (
        "reserve",
        "if w.lines ~= '-' or r[LINES] ~= '-' then",
        "if r[LINES] ~= '-' then",
        "K10: several join no line",
    ),
    (
        "reserve",
        "if w.lines ~= '-' or r[LINES] ~= '-' then",
        "if w.lines ~= '-' then",
        "K10: nobody joins a line of several",
    ),
    (
        "record",
        "return r[STATE] == HELD and tonumber(r[DEADLINE]) <= now",
        "return tonumber(r[DEADLINE]) <= now",
        "N6: pins are timeless",
    ),
    (
        "record",
        "tonumber(r[DEADLINE]) <= now",
        "tonumber(r[DEADLINE]) < now",
        "due on the millisecond",
    ),
    ("record", "held and sold and f[5]", "held and sold", "the ready flag"),
    ("record", "if not (tonumber(f[1]) and ", "if not (", "the epoch is there"),
    (
        "record",
        "buyer.live, buyer.bought = buyer.live - qty,",
        "buyer.live, buyer.bought = buyer.live,",
        "live falls at the end",
    ),
    ("record", "buyer.bought + sold", "buyer.bought", "bought grows at a sale"),
    ("record", "stock.avail + qty, stock.held - qty", "stock.avail + qty, stock.held", "INV2"),
    (
        "record",
        "if r[KIND] == 'n' then buyer.last = rid end",
        "buyer.last = rid",
        "late money is no hold",
    ),
    ("record", "if r[KIND] == 'o' then return end", "", "what is taken out has no buyer"),
    ("record", "'LIMIT', 0, limit", "'LIMIT', 0, 1000", "the limit of reaping"),
    (
        "record",
        "'ZRANGEBYSCORE', D, '-inf', now - LAG",
        "'ZRANGEBYSCORE', D, '-inf', '+inf'",
        "only what is due",
    ),
    ("record", "if r and is_due(r, now) then", "if r then", "the record decides, not the index"),
    ("record", "now - LAG, 'LIMIT'", "now - LAG - 1, 'LIMIT'", "due on the millisecond"),
    (
        "record",
        "r[EMAIL], r[REASON], r[ENDED], r[ACTOR] = state, '-'",
        "r[EMAIL], r[REASON], r[ENDED], r[ACTOR] = state, r[EMAIL]",
        "no address outlives its hold",
    ),
    (
        "reserve",
        "if stock.avail < delta then reap(stock, now, 32) end",
        "",
        "INV10: reap before refusal",
    ),
    (
        "reserve",
        "if stock.avail < delta then return",
        "if stock.avail < delta - 1 then return",
        "no oversell",
    ),
    (
        "reserve",
        "if stock.avail < delta then return",
        "if stock.avail <= delta then return",
        "the last unit is for sale",
    ),
    ("reserve", "+ delta > cap", "+ delta > cap + 1", "the cap"),
    ("reserve", "+ delta > cap", "+ delta >= cap", "the cap may be used up"),
    ("reserve", "cap > 0 and ", "", "no cap is no limit"),
    (
        "reserve",
        "buyer.bought - buyer.back",
        "buyer.bought",
        "what is given back may be bought again",
    ),
    (
        "reserve",
        "local bought = buyer.bought - buyer.back",
        "local bought = 0",
        "the cap counts what was bought",
    ),
    ("reserve", "if terms[5] == 'hidden' then return { 10 } end", "", "the sale"),
    ("reserve", "if terms[5] == 'paused' then return { 7 } end", "", "the sale"),
    ("terms", "string.format('(%d', now_ms() - LAG)", "'-inf'", "a hold that is due is none"),
    ("terms", "'(%d'", "'%d'", "a hold ends on time"),
    ("terms", " + redis.call('ZCARD', P)", "", "a pinned product is held"),
    ("terms", "live > 0", "live > 1", "one hold is enough"),
    ("terms", "ARGV[7] == '1' and ", "", "hiding without asking"),
    ("terms", "<= tonumber(ARGV[6])", "< tonumber(ARGV[6])", "the same terms come again"),
    ("terms", "<= tonumber(ARGV[6])", "<= 999", "older terms come too late"),
    (
        "reserve",
        "if now < tonumber(terms[3])",
        "if now <= tonumber(terms[3])",
        "the sale begins on time",
    ),
    (
        "reserve",
        "if now < tonumber(terms[3]) then return { 5, terms[3] } end",
        "",
        "the sale begins",
    ),
    (
        "reserve",
        "terms[5] == 'closed' or terms[5] == 'draining' or (closes",
        "(closes",
        "the sale is closed by hand",
    ),
    ("reserve", "now >= closes", "now > closes", "the sale ends on time"),
    ("reserve", "closes > 0 and", "", "a sale without end"),
    (
        "reserve",
        "if refused_by_sale then return refused_by_sale end\n  local bought",
        "local bought",
        "the sale window",
    ),
    ("reserve", "if own then return standing(0, rid, own, w) end", "", "an answer is given again"),
    (
        "reserve",
        "if w.ttl > ttl_most then",
        "if w.ttl >= ttl_most then",
        "the longest TTL is allowed",
    ),
    ("reserve", "if w.ttl > ttl_most then return { 8, ttl_most } end", "", "the TTL"),
    (
        "reserve",
        "release(stock, slot, r, 'expired', 'clock', now); r = nil end",
        "r = nil end",
        "the slot's units go back",
    ),
    (
        "reserve",
        "if r and is_due(r, now) then release",
        "if r and r[STATE] == HELD then release",
        "a standing hold stays",
    ),
    (
        "reserve",
        "if tonumber(r[QTY]) == w.qty then return",
        "do return",
        "a pin keeps its quantity",
    ),
    ("reserve", "if r[STATE] == HELD then return move", "do return move", "a pin is not moved"),
    ("reserve", "delta > 0 and refusal", "refusal", "less is never refused"),
    (
        "reserve",
        "stock.avail - delta, stock.held + delta, buyer.live + delta",
        "stock.avail - delta, stock.held + delta, buyer.live",
        "live follows the quantity",
    ),
    (
        "reserve",
        "tonumber(short) > 0 and tonumber(short) or w.ttl",
        "w.ttl",
        "a crash gives lines back soon",
    ),
    ("reserve", "math.max(0, stock.avail)", "stock.avail", "no debt is shown"),
    ("reserve", "if ahead > 0 then", "if ahead > -1 then", "the churn's tolerance"),
    ("reserve", "return churned[i] and churn_refusal(i) or create", "return create", "churn"),
    ("reserve", "if tolerance > 0 and ", "if ", "churn may be off"),
    (
        "reserve",
        "tolerance > 0 and tonumber(terms[6] or 0) - now - tolerance > 0",
        "false",
        "churn",
    ),
    ("cancel", "redis.call('HSET', S, 'churn', at)", "", "the furthest churn is known"),
    (
        "cancel",
        "if at > tonumber(redis.call('HGET', S, 'churn') or 0) then",
        "do",
        "the furthest churn stays",
    ),
    ("reserve", "commit(stock)\n", "", "INV2"),
    ("pin", "if not r or r[USER] ~= user then", "if not r then", "INV8: the owner"),
    ("pin", "if is_due(r, now) then", "if false then", "410 after the deadline"),
    (
        "pin",
        "if expected > 0 and expected ~= tonumber(r[QTY]) then",
        "if false then",
        "the expected quantity",
    ),
    ("pin", "if expected > 0 and", "if", "any quantity"),
    ("pin", "if r[STATE] == HELD then", "do", "a join keeps the age of the pin"),
    (
        "settle",
        "if not r or (r[STATE] ~= HELD and r[STATE] ~= PINNED) then",
        "if not r then",
        "INV5: one end",
    ),
    (
        "settle",
        "(r[STATE] ~= HELD and r[STATE] ~= PINNED)",
        "r[STATE] ~= PINNED",
        "a hold may be settled",
    ),
    (
        "settle",
        "(r[STATE] ~= HELD and r[STATE] ~= PINNED)",
        "r[STATE] ~= HELD",
        "a pin may be settled",
    ),
    (
        "settle",
        "if outcome ~= 'CONFIRMED' or token ~= r[TOKEN] then",
        "if outcome ~= 'CONFIRMED' then",
        "T1: the token",
    ),
    (
        "settle",
        "if outcome ~= 'CONFIRMED' or token ~= r[TOKEN] then",
        "if token ~= r[TOKEN] then",
        "the outcome",
    ),
    ("settle", "stock.avail + held - sold", "stock.avail", "the decision's quantity"),
    (
        "settle",
        "leave_buyer(rid, r, held, sold)",
        "leave_buyer(rid, r, sold, sold)",
        "live falls by what was held",
    ),
    ("apply_stock", "tonumber(ARGV[3]) > ver\n", "false\n", "O1: the stock goes with its pin"),
    ("apply_stock", "tonumber(ARGV[3]) > ver\n", "true\n", "S2: an older stock comes too late"),
    ("apply_stock", "tonumber(ARGV[3]) > ver\n", "tonumber(ARGV[3]) >= ver\n", "S2: one stock"),
    (
        "apply_stock",
        "stock.avail + tonumber(ARGV[1]) - stocked",
        "stock.avail + tonumber(ARGV[1])",
        "S2: stock is a state",
    ),
    ("apply_stock", "(r[STATE] == HELD or r[STATE] == PINNED)", "true", "units are released once"),
    ("apply_stock", "if back > tonumber(buyer.back) then", "do", "G1: back only grows"),
    ("apply_stock", "buyer.back = back", "buyer.back = buyer.back + back", "G1: back is a state"),
    (
        "apply_stock",
        "for i = IDS + 1, first_buyer - 1",
        "for i = IDS + 2, first_buyer - 1",
        "all ids",
    ),
    (
        "apply_stock",
        "for i = IDS + 1, first_buyer - 1",
        "for i = IDS + 1, first_buyer - 2",
        "all ids",
    ),
    ("apply_stock", "'returned', ARGV[2], ", "", "returns come with the stock"),
    ("grab", "if r and r[STATE] == PINNED then", "if r then", "what ended is not taken"),
    ("grab", "if stock.avail < quantity then reap(stock, now, 500) end", "", "INV10: reap first"),
    (
        "grab",
        "if stock.avail < quantity then return",
        "if stock.avail < quantity - 1 then return",
        "no hold is undercut",
    ),
    (
        "grab",
        "if stock.avail < quantity then return",
        "if stock.avail <= quantity then return",
        "the last unit may be taken",
    ),
    ("grab", "math.max(0, stock.avail)", "stock.avail", "no debt is shown"),
    ("grab", "{ PINNED, 'o',", "{ PINNED, 'n',", "what is taken out has no buyer"),
    ("grab", "{ PINNED, 'o',", "{ HELD, 'o',", "no clock ends it"),
    ("grab", "stock.avail - quantity, stock.held + quantity", "stock.avail, stock.held", "INV2"),
    ("late", "if r and r[STATE] == PINNED then", "if r then", "what ended is not taken"),
    ("late", "if stock.avail < quantity then reap(stock, now, 500) end", "", "INV10: reap first"),
    (
        "late",
        "if stock.avail < quantity then return",
        "if stock.avail < quantity - 1 then return",
        "no hold is undercut",
    ),
    (
        "late",
        "if stock.avail < quantity then return",
        "if stock.avail <= quantity then return",
        "the last unit may be taken",
    ),
    ("late", "math.max(0, stock.avail)", "stock.avail", "no debt is shown"),
    (
        "late",
        "buyer.live + bought + quantity > cap",
        "bought + quantity > cap",
        "live counts in the cap",
    ),
    (
        "late",
        "buyer.live + bought + quantity > cap",
        "buyer.live + quantity > cap",
        "bought counts in the cap",
    ),
    (
        "late",
        "buyer.live + bought + quantity > cap",
        "buyer.live + bought + quantity >= cap",
        "the cap may be used up",
    ),
    ("late", "buyer.bought - buyer.back", "buyer.bought", "what came back may be bought again"),
    ("late", "if cap > 0 and", "if", "no cap is no limit"),
    ("late", "{ PINNED, 'l',", "{ PINNED, 'n',", "late money takes no slot"),
    ("late", "{ PINNED, 'l',", "{ PINNED, 'o',", "late units are a buyer's"),
    ("late", "{ PINNED, 'l',", "{ HELD, 'l',", "no clock ends it"),
    ("late", "stock.avail - quantity, stock.held + quantity,", "stock.avail, stock.held,", "INV2"),
    ("cancel", "if not r or r[USER] ~= ARGV[2] then", "if not r then", "INV8: the owner"),
    ("cancel", "if r[STATE] == PINNED then return { 1 } end", "", "a pin cannot be cancelled"),
    ("cancel", "if r[STATE] == HELD then", "do", "INV5: one end"),
    ("cancel", "if is_due(r, now) then", "if false then", "what is due has expired"),
    ("cancel", "if interval > 0 then", "do", "churn may be off"),
    ("cancel", "math.max(now, tonumber(redis.call('GET', KEYS[8]) or 0))", "now", "churn adds up"),
    (
        "cancel",
        "math.max(now, tonumber(redis.call('GET', KEYS[8]) or 0))",
        "tonumber(redis.call('GET', KEYS[8]) or now)",
        "churn is forgiven",
    ),
    ("extend", "if not r or r[USER] ~= ARGV[2] then", "if not r then", "INV8: the owner"),
    ("extend", "if is_due(r, now) then", "if false then", "nothing is revived"),
    (
        "extend",
        "if tonumber(r[EXT]) == count + 1 then return { 0, r[DEADLINE] } end",
        "",
        "a repeated extension",
    ),
    ("extend", "if tonumber(r[EXT]) ~= count then return { 5 } end", "", "once for each number"),
    (
        "extend",
        "math.max(tonumber(r[DEADLINE]), tonumber(ARGV[4]))",
        "tonumber(ARGV[4])",
        "never shorter",
    ),
    ("retime", "r[STATE] ~= HELD or ", "", "INV4: a pin is the decision's"),
    ("retime", "r[LINES] ~= '-' or ", "", "several products end together"),
    ("retime", " or is_due(r, now)", "", "nothing is revived"),
    ("retime", "math.min(deadline, now + LEAST)", "0", "not into the past"),
    ("retime", "math.min(deadline, now + LEAST)", "now + LEAST", "twice is once"),
    ("retime", "math.max(life, deadline - created)", "life", "the longest life shortens nothing"),
    ("retime", "created + math.min", "now + math.min", "from its beginning"),
    ("weigh", " or not redis.call('ZSCORE', index, entries[i])", "", "a record in no index"),
    (
        "weigh",
        "if kind == 'o' then taken_out = taken_out + qty end",
        "",
        "what its owner takes has no buyer",
    ),
    ("weigh", "redis.call('ZCARD', index) - count", "0", "an entry without its record"),
    ("arm", "r[STATE] ~= HELD or ", "", "what ended is not armed"),
    ("arm", "or is_due(r, now) ", "", "nothing is revived"),
    ("arm", " or deadline <= now then", " then", "not into the past"),
    ("claim_pins", "now - ARGV[1]", "now", "the grace"),
    ("claim_pins", "    redis.call('ZADD', P, now, rid)\n", "", "claimed once per grace"),
    ("claim_pins", "if r and r[STATE] == PINNED then", "if r then", "only pins"),
    ("ended", "now_ms() - ARGV[1]", "now_ms()", "the age"),
    (
        "forget",
        "if r and (r[STATE] == SOLD or r[STATE] == END) then",
        "if r then",
        "what lives stays",
    ),
    ("forget", "if buyer.last == rid then", "do", "only the last one is forgotten"),
    ("find", "buyer.slot ~= '-' and buyer.slot or buyer.last", "buyer.slot", "the last hold"),
    ("record", "  commit(stock)\n  return count, lag", "  return count, lag", "INV2"),
    ("rebuild", "or -1) >= epoch then", "or -1) > epoch then", "each epoch is applied once"),
    (
        "rebuild",
        "if (tonumber(stored[1] or -1) or -1) >= epoch then return { 1 } end",
        "",
        "a later rebuild wins",
    ),
    ("rebuild", "or -1) > ver and", "or -1) > ver + 99 and", "S5: the newer stock stays"),
    ("rebuild", "or -1) > ver and", "or -1) >= 0 and", "S5: the newer stock comes"),
    ("rebuild", "or -1) <= tonumber(ARGV[11]) then", "or -1) <= 999 then", "the newer terms stay"),
    (
        "rebuild",
        "or -1) <= tonumber(ARGV[11]) then",
        "or -1) < tonumber(ARGV[11]) then",
        "the same terms come again",
    ),
    (
        "rebuild",
        "if restored[rid] and restored[rid].token == token then",
        "if false then",
        "P18: ended stays ended",
    ),
    (
        "rebuild",
        "restored[rid] and restored[rid].token == token",
        "restored[rid]",
        "T4: only with the same token",
    ),
    ("rebuild", "elseif not restored[rid] then", "else", "a restored record counts once"),
    (
        "rebuild",
        "  push(records, rid, table.concat({ PINNED",
        "  string.len(table.concat({ PINNED",
        "P10: pins are restored",
    ),
    (
        "rebuild",
        "elseif decided[rid] == 'CONFIRMED' then",
        "elseif decided[rid] then",
        "what the decision says",
    ),
    ("rebuild", "elseif decided[rid] then", "elseif false then", "decided records are closed"),
    ("rebuild", "  if kind == 'o' then return end\n", "", "what is taken out has no buyer"),
    ("rebuild", "kind == 'n' and (not slots", "(not slots", "only a normal hold has the slot"),
    (
        "rebuild",
        " or state == PINNED and not restored[slots[user]]",
        "",
        "a pin goes before a hold",
    ),
    (
        "rebuild",
        "not slots[user] or state == PINNED and not restored[slots[user]]",
        "true",
        "the slot's order",
    ),
    ("rebuild", "tonumber(qty) > 0", "true", "an empty record is none"),
    ("rebuild", "(%d+) (%d+) (%d+) %S+", "(%S+) (%d+) (%d+) %S+", "a negative record is none"),
    ("rebuild", " (%S+) %S+(.*)$", " (%S+)(.*)$", "a record that is cut off"),
    ("rebuild", "stocked - ARGV[3] - held", "stocked - ARGV[3]", "INV2"),
    ("rebuild", "'ready', 1, ", "", "the ready flag"),
    (
        "rebuild",
        "if found ~= kind and found ~= 'none' then redis.call('DEL', key) end",
        "",
        "INV12: keys of other types",
    ),
    (
        "idempotency",
        "if kept:sub(-#fingerprint) == fingerprint then return { 1 } end",
        "",
        "the same request runs",
    ),
    (
        "idempotency",
        "    if kept:sub(-#fingerprint) == fingerprint then return { 1 } end\n    return { 2 }",
        "    return { 1 }",
        "another request runs",
    ),
    ("idempotency", "kept:sub(1, 1 + #mark) == 'P' .. mark", "true", "only its own claim"),
    (
        "idempotency",
        "if kept and kept:sub(1, 1 + #mark)",
        "if kept and 'P' .. kept:sub(2, 1 + #mark)",
        "an answer stays",
    ),
    ("limit", "(most - 1) * interval", "most * interval", "one too many"),
    ("limit", "room >= 0", "room > 0", "the last one may come"),
    ("limit", "over = over + interval", "over = interval", "what came before counts"),
    (
        "limit",
        "math.max(tonumber(redis.call('GET', key) or 0), now)",
        "tonumber(redis.call('GET', key) or now)",
        "no credit for silence",
    ),
    ("limit", "{ 0, 0, -room, over }", "{ 0, 0, over, over }", "one may come before all may"),
    ("limit", "math.max(0, interval - room)", "interval - room", "no wait while there is room"),
];

#[test]
fn every_careless_change_of_a_script_is_noticed() {
    let real = Scripts::on_bench_time();
    let mut checks = checks();
    let unnoticed = MUTANTS
        .iter()
        .filter(|(file, from, to, _)| !noticed(&mut checks, file, &real.changed(file, from, to)));
    let unnoticed: Vec<_> = unnoticed.map(|mutant| format!("{mutant:?}")).collect();
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
