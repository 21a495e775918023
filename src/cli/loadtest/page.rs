//! The report as one HTML file that opens without a network.

use super::chart::{self, Across, Chart, Series, escaped};
use super::summary::{KindFigures, Quantiles, SecondFigures, Summary};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
    padding:0 1rem;color:#0f172a}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
    th,td{padding:.25rem .75rem;text-align:right;border-bottom:1px solid #e2e8f0}\
    th:first-child,td:first-child{text-align:left}svg{width:100%;margin:1rem 0}\
    pre{background:#f1f5f9;padding:.75rem;overflow-x:auto}.right{color:#047857}.wrong{color:#b91c1c}";

/// Writes the report.
pub(super) fn page(summary: &Summary) -> String {
    let plan = &summary.plan;
    let pace = match plan.rate {
        Some(rate) => format!("{rate} requests/s over up to {} connections", plan.connections),
        None => format!("{} connections, each as fast as it is answered", plan.connections),
    };
    let (class, word) = match summary.is_right() {
        true => ("right", "Every answer was right, and no unit is missing."),
        false => ("wrong", "Something was wrong: see below."),
    };
    let verdict =
        [summary.refusals(), summary.pacing.lines(), summary.verdict()].concat().join("\n");
    let sku = match plan.across {
        Some(count) => format!("{} over {count} products", plan.sku),
        None => plan.sku.clone(),
    };
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Load test of {sku}</title><style>{STYLE}</style>\
         <h1>Load test of {sku}</h1><p>{url}: {mix}; {pace}; {seconds:.1} s measured.</p>\
         <p class=\"{class}\"><strong>{word}</strong></p>{table}<pre>{verdict}</pre>{charts}</html>\n",
        sku = escaped(&sku),
        verdict = escaped(&verdict),
        url = escaped(&plan.url),
        mix = escaped(&plan.mix),
        seconds = summary.seconds,
        table = table(&summary.kinds),
        charts = charts(summary),
    )
}

fn table(kinds: &[KindFigures]) -> String {
    let row = |kind: &KindFigures| {
        let latency = kind.latency_ms;
        format!(
            "<tr><td>{}<td>{}<td>{:.0}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}<td>{}",
            kind.kind,
            kind.accepted,
            kind.accepted_per_second,
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p999,
            latency.max,
            kind.refused
        )
    };
    let rows: String = kinds.iter().map(row).collect();
    format!(
        "<table><tr><th>request<th>answers<th>per s<th>p50 ms<th>p90 ms<th>p99 ms<th>p99.9 ms\
         <th>max ms<th>refused{rows}</table>"
    )
}

fn charts(summary: &Summary) -> String {
    let line = |name: &str, value: fn(&SecondFigures) -> f64| Series {
        name: name.to_owned(),
        points: summary
            .series
            .iter()
            .enumerate()
            .map(|(second, figures)| (second as f64 + 1.0, value(figures)))
            .collect(),
    };
    let over_time = |title, y| Chart { title, x: "second", y, across: Across::Even };
    let throughput = [
        line("accepted", |figures| figures.accepted as f64),
        line("refused", |figures| figures.refused as f64),
    ];
    let latency = [line("p50", |figures| figures.p50_ms), line("p99", |figures| figures.p99_ms)];
    let by_percentile = |kind: &KindFigures| {
        let Quantiles { p50, p90, p99, p999, max } = kind.latency_ms;
        let points = [p50, p90, p99, p999, max].into_iter().enumerate();
        let points = points.map(|(at, ms)| (at as f64, ms)).collect();
        Series { name: kind.kind.to_owned(), points }
    };
    let kinds: Vec<Series> = summary.kinds.iter().map(by_percentile).collect();
    let percentiles = Chart {
        title: "Latency of each kind of request",
        x: "percentile",
        y: "ms",
        across: Across::Named(&["50", "90", "99", "99.9", "100"]),
    };
    let bars = Chart {
        title: "How long accepted requests took",
        x: "milliseconds",
        y: "share, %",
        across: Across::Even,
    };
    [
        chart::lines(&over_time("Answers", "answers in each second"), &throughput),
        chart::lines(&over_time("Latency", "ms"), &latency),
        chart::lines(&percentiles, &kinds),
        chart::bars(&bars, &summary.latency_bars),
    ]
    .concat()
}
